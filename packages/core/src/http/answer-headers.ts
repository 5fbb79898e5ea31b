import type { CacheStatus, ManifestAnswer } from '../pull/answer.ts';

/** What an answer's headers depend on beside the answer. */
export interface AnswerOptions {
  /** Wall time in ms since the epoch. */
  now: number;
  /** The source host that was asked for: echoed (OCI distribution-spec, registry proxying). */
  ns: string | undefined;
  /** Whether shared caches may keep what is addressed by digest. */
  publicContent: boolean;
}

/** For what may change: nobody serves it without asking us. */
export const changingContent = 'no-cache, no-transform';
/** For what nobody should keep: errors, and bytes that nobody has verified. */
export const unkeptContent = 'no-store, no-transform';

/** `Cache-Control` of content by digest, which never changes (RFC 8246). */
export function immutableContent(publicContent: boolean): string {
  return publicContent
    ? 'public, max-age=31536000, immutable, no-transform'
    : 'private, max-age=31536000, immutable, no-transform';
}

/** The strong entity tag of content with this digest. */
export function etagOf(digest: string): string {
  return `"${digest}"`;
}

/** `Age` in whole seconds (RFC 9111 5.1). Content by digest has none: it cannot be anything else. */
export function ageOf({ byTag, validatedAt }: ManifestAnswer, now: number): number | undefined {
  if (!byTag || validatedAt === undefined) return undefined;
  return Math.max(0, Math.floor((now - validatedAt) / 1000));
}

/** The headers of every answer. */
export function baseHeaders(ns?: string): Record<string, string> {
  const headers: Record<string, string> = {
    'docker-distribution-api-version': 'registry/2.0',
    'x-content-type-options': 'nosniff',
  };
  if (ns !== undefined && ns !== '') headers['oci-namespace'] = ns;
  return headers;
}

/**
 * Whether an `If-None-Match` names this entity tag: one, a list, or `*`, by weak comparison (RFC 9110 13.1.2). One that
 * cannot be read names nothing.
 */
export function matchesEtag(header: string | null, etag: string): boolean {
  if (header === null) return false;
  if (header === etag || header.trim() === '*') return true;
  let from = 0;
  for (;;) {
    const open = header.indexOf('"', from);
    const close = open < 0 ? -1 : header.indexOf('"', open + 1);
    if (close < 0) return false;
    if (header.slice(open, close + 1) === etag) return true;
    from = close + 1;
  }
}

/** `Cache-Status` (RFC 9211), such as `proxycache; fwd=stale; fwd-status=304; collapsed`. */
export function cacheStatusHeader(status: CacheStatus): string {
  if (status.hit && status.detail === undefined) return 'proxycache; hit';
  let text = 'proxycache';
  if (status.hit) {
    text += '; hit';
  } else {
    if (status.fwd !== undefined) text += `; fwd=${status.fwd}`;
    if (status.fwdStatus !== undefined) text += `; fwd-status=${status.fwdStatus}`;
    if (status.stored) text += '; stored';
    if (status.collapsed) text += '; collapsed';
  }
  if (status.detail !== undefined) text += `; detail=${tokenOrString(status.detail)}`;
  return text;
}

// RFC 8941 3.3.3, 3.3.4: a token where it is one, else a string of printable ASCII.
function tokenOrString(text: string): string {
  return /^[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*$/.test(text) ? text : quoted(text);
}

// OCI distribution-spec, warnings: at most 4096 bytes of them in an answer.
const longestWarning = 4096;

/** `Warning` in the form of the OCI distribution-spec: `299 - "text"`. */
export function warningHeader(text: string): string {
  const start = '299 - ';
  let shown = text;
  let header = start + quoted(shown);
  while (header.length > longestWarning) {
    shown = shown.slice(0, shown.length - Math.max(1, Math.ceil((header.length - longestWarning) / 2)));
    header = start + quoted(shown);
  }
  return header;
}

/** A quoted string of printable ASCII, with `?` for what is not (RFC 9110 5.6.4). */
function quoted(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')}"`;
}
