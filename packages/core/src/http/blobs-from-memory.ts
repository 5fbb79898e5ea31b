import type { Digest } from '../oci/digest.ts';
import type { CacheStatus } from '../pull/answer.ts';
import type { HeldBlob, HeldBlobs } from '../pull/held-blobs.ts';
import type { Clock } from '../runtime/clock.ts';
import { bodyOf } from './body.ts';
import type { HttpEvent } from './events.ts';
import { type ContentRoute, createKnownUrls, type KnownUrl, type KnownUrlsParts } from './known-urls.ts';
import type { Handle, HttpRequest } from './message.ts';
import { blobHeaders } from './respond.ts';

/** What answering with blobs from memory takes. */
export interface BlobsFromMemoryParts extends KnownUrlsParts {
  heldBlobs: HeldBlobs;
  publicContent: boolean;
  clock: Clock;
  observe(event: HttpEvent): void;
}

interface BlobContent {
  digest: Digest;
  open: HeldBlob;
  headers?: Readonly<Record<string, string>>;
}

const cacheStatus: CacheStatus = Object.freeze({ hit: true });

/**
 * Answers with whole blobs that are in memory, as `handle` would, in one go. What cannot be answered so is left to `handle`,
 * and not told to the observer: HEAD, parts and conditions are few.
 */
export function createBlobsFromMemory(parts: BlobsFromMemoryParts): NonNullable<Handle['fromMemory']> {
  const { clock, publicContent, observe } = parts;
  const urls = createKnownUrls<ContentRoute<'blob'>, BlobContent>(parts, 'blob', (target, { digest }) => ({
    digest,
    open: parts.heldBlobs(target, digest),
  }));

  function headersOf({ content, ns }: KnownUrl<BlobContent>, length: number): Readonly<Record<string, string>> {
    content.headers ??= Object.freeze({
      ...blobHeaders({ digest: content.digest, cacheStatus }, { ns, publicContent }),
      'content-length': `${length}`,
    });
    return content.headers;
  }

  return (request) => {
    const { method, url } = request;
    if (method !== 'GET' || isConditional(request)) return undefined;
    const startedAt = clock.monotonic();
    const known = urls.find(request);
    if (!known) return undefined;
    const { digest, open } = known.content;
    const blob = open();
    if (!blob) return undefined;
    urls.keep(url, known);
    const { bytes, close } = blob;
    const { upstream, repository } = known.target.place;
    observe({
      type: 'request',
      method,
      kind: 'blob',
      upstream,
      repository,
      ...(known.group !== undefined && { group: known.group }),
      reference: digest,
      cacheStatus,
      status: 200,
      durationMs: clock.monotonic() - startedAt,
    });
    const over = (sent: number, complete: boolean) =>
      observe({ type: 'response-ended', kind: 'blob', upstream, repository, cacheStatus, bytes: sent, complete });
    return { status: 200, headers: headersOf(known, bytes.byteLength), body: bodyOf(bytes, { close, over }) };
  };
}

function isConditional({ headers }: HttpRequest): boolean {
  return headers.get('range') !== null || headers.get('if-none-match') !== null;
}
