import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../oci/digest.ts';
import { mayGoBy, type ParsedManifest, parseManifest } from '../oci/manifest.ts';
import { essenceOf, isSchema1Type, mediaTypes } from '../oci/media-type.ts';
import type { TagOrDigest } from '../oci/name.ts';
import { collect, discard } from '../runtime/bytes.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { headerOf, type ResponseHeaders } from './exchange.ts';
import { isTooDeep } from './json-depth.ts';
import type { Answer } from './question.ts';
import { redact } from './redact.ts';
import type { FetchedManifest } from './upstream.ts';
import { UpstreamError, type UpstreamErrorCode } from './upstream-error.ts';

/** What a manifest's answer is judged by. */
export interface ManifestContext {
  /** The upstream's key. */
  key: string;
  /** What was asked for, as it may be shown. */
  subject: string;
  maxManifestBytes: number;
  /** What is known of it from before. */
  known?: Descriptor | undefined;
}

// What servers and object stores say when they do not know a type.
const generic: ReadonlySet<string> = new Set([
  '',
  'application/json',
  'application/octet-stream',
  'binary/octet-stream',
  'text/plain',
]);

/**
 * What a HEAD of a manifest says, or `undefined` where it leaves out what we need: then only a GET can say.
 *
 * @throws UpstreamError `digest-mismatch`, `foreign-answer`; ProxyCacheError `manifest-unsupported` for schema 1
 */
export function readManifestHead(
  { status, headers }: Answer,
  reference: TagOrDigest,
  context: ManifestContext,
): Descriptor | undefined {
  const fail = failWith(context, status);
  const mediaType = essenceOf(headerOf(headers, 'content-type'));
  refuseSchema1(mediaType, context);
  const digest = saidDigest(headers);
  const asked = reference.kind === 'digest' ? reference.digest : digest;
  if (reference.kind === 'digest' && digest !== undefined && digest !== asked) {
    throw fail('digest-mismatch', 'answered with another digest than it was asked for');
  }
  if (!isPlausible(mediaType))
    throw fail('foreign-answer', `answered with ${redact(mediaType)}, which is no manifest,`);
  const { known } = context;
  // The digest says all of what is known: whatever else a HEAD leaves out is no reason for a GET, which counts.
  if (known && digest === known.digest) return known;
  const size = saidLength(headers);
  // No manifest is empty: some front ends say so to every HEAD.
  if (generic.has(mediaType) || asked === undefined || !size) return undefined;
  return { mediaType, digest: asked, size };
}

/**
 * Reads and verifies a manifest: its size, its digest (the one asked for, or the one announced), and its type.
 *
 * @throws UpstreamError `too-large`, `digest-mismatch`, `foreign-answer`; ProxyCacheError `manifest-unsupported`
 */
export async function readManifest(
  answer: Answer,
  reference: TagOrDigest,
  context: ManifestContext,
): Promise<FetchedManifest> {
  const { headers, body, status } = answer;
  const fail = failWith(context, status);
  const bytes = await readBounded(body, headers, context.maxManifestBytes);
  if (!bytes) throw fail('too-large', `sent more than the ${context.maxManifestBytes} bytes of maxManifestBytes`);

  const type = essenceOf(headerOf(headers, 'content-type'));
  if (!isPlausible(type)) throw fail('foreign-answer', `answered with ${redact(type)}, which is no manifest,`);
  const wanted = reference.kind === 'digest' ? reference.digest : saidDigest(headers);
  const digest = digestOf(bytes, wanted && digestAlgorithm(wanted));
  if (wanted !== undefined && digest !== wanted) {
    throw fail('digest-mismatch', `sent bytes of the digest ${digest} instead of ${wanted}`);
  }
  refuseSchema1(type, context);
  const mediaType = mediaTypeOf(parse(bytes, fail), type, fail);
  return { descriptor: { mediaType, digest, size: bytes.byteLength }, bytes };
}

type Fail = (code: UpstreamErrorCode, why: string, cause?: unknown) => UpstreamError;

function failWith({ key, subject }: ManifestContext, status: number): Fail {
  return (code, why, cause) =>
    new UpstreamError(code, `${key} ${why} for ${subject}`, { upstream: key, status, cause });
}

function refuseSchema1(mediaType: string, { key, subject }: ManifestContext): void {
  if (!isSchema1Type(mediaType)) return;
  const why = 'only as a Docker image of schema version 1, which is not supported; push it again with a current client';
  throw new ProxyCacheError('manifest-unsupported', `${key} has ${subject} ${why}`);
}

function parse(bytes: Uint8Array, fail: Fail): ParsedManifest {
  if (isTooDeep(bytes)) throw fail('foreign-answer', 'sent a manifest nested too deep');
  try {
    return parseManifest(bytes);
  } catch (error) {
    // Schema 1 is an answer about the image. Anything else is not what was asked: nothing is known of the image.
    if (!isProxyCacheError(error) || error.message.includes('schema version 1')) throw error;
    throw fail('foreign-answer', `sent what is no manifest (${error.message})`, error);
  }
}

/**
 * The body's own type wins over a header that says nothing; where both say something they must agree, and with the
 * body's shape (CVE-2021-41190).
 */
function mediaTypeOf(manifest: ParsedManifest, said: string, fail: Fail): string {
  const own = manifest.mediaType;
  if (own !== undefined && !isVendorType(own))
    throw fail('foreign-answer', `sent a manifest that calls itself ${redact(own)}`);
  const shape = manifest.kind === 'index' ? mediaTypes.ociIndex : mediaTypes.ociManifest;
  if (generic.has(said)) return own ?? shape;
  if (!mayGoBy(manifest, said)) {
    throw fail('foreign-answer', `sent a manifest of type ${own ?? shape} as ${said}`);
  }
  return said;
}

function isPlausible(mediaType: string): boolean {
  return generic.has(mediaType) || isVendorType(mediaType);
}

/**
 * Types of registries are all vendors' own. Others (a page, a picture with scripts) would be served as what they call
 * themselves, on the origin of whoever embeds this. RFC 6838 4.2: the characters, and at most 127 behind the slash.
 */
function isVendorType(mediaType: string): boolean {
  return mediaType.length <= 'application/'.length + 127 && /^application\/vnd\.[A-Za-z0-9.+_-]+$/.test(mediaType);
}

function saidDigest(headers: ResponseHeaders): Digest | undefined {
  const text = headerOf(headers, 'docker-content-digest') ?? '';
  return isDigest(text) ? text : undefined;
}

/** A response's Content-Length, where it is one. */
export function saidLength(headers: ResponseHeaders): number | undefined {
  const text = headerOf(headers, 'content-length') ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** A body of at most `limit` bytes, or `undefined` for a longer one, which is not read where its length is told. */
export async function readBounded(
  body: Answer['body'],
  headers: ResponseHeaders,
  limit: number,
): Promise<Uint8Array | undefined> {
  if ((saidLength(headers) ?? 0) <= limit) return await collect(body, limit);
  await discard(body);
  return undefined;
}
