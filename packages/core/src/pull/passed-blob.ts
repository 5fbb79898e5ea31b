import { verifiedStream } from '../ingest/verified-stream.ts';
import type { Digest } from '../oci/digest.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import { type Bytes, discard } from '../runtime/bytes.ts';
import type { FetchedBlob } from '../upstream/upstream.ts';
import { type BlobAnswer, unverifiedDetail } from './answer.ts';
import { proveBlob } from './blob-proof.ts';
import type { PullParts } from './pull-parts.ts';
import { refusedReply } from './refusal.ts';
import { queryOf, type Target } from './target.ts';

/** What the bytes are asked for by. */
interface PassedPull {
  target: Target;
  digest: Digest;
  signal: AbortSignal;
}

/** A request of its own to the upstream, for bytes that are passed on and stored nowhere. */
async function fetchFor(
  parts: PullParts,
  request: PassedPull,
  asked: { part?: ByteRange; signal: AbortSignal },
): Promise<FetchedBlob> {
  const { target, digest } = request;
  const within = { ms: target.upstream.blobWithinMs, signal: asked.signal };
  const reply = await target.upstream.client.fetchBlob({
    ...queryOf(target, parts.clock.monotonic(), within),
    digest,
    from: asked.part?.from ?? 0,
    ...(asked.part && { to: asked.part.to }),
  });
  if (reply.kind !== 'found') throw refusedReply(target, reply, { of: 'blob-unknown', subject: `blob ${digest}` });
  proveBlob(parts, target, { digest, size: reply.value.total });
  return reply.value;
}

/** The whole blob, verified as it passes: for when there is no room to keep it. */
export async function passedWhole(parts: PullParts, request: PassedPull): Promise<BlobAnswer> {
  const { target, digest } = request;
  const left = new AbortController();
  const signal = AbortSignal.any([request.signal, left.signal]);
  const { total = parts.manifests.sizeOf(digest), body } = await fetchFor(parts, request, { signal });
  return {
    digest,
    ...(total !== undefined && { size: total }),
    cacheStatus: { hit: false, fwd: 'miss', fwdStatus: 200 },
    read: () => verifiedStream(body, { upstream: target.place.upstream, digest, total }),
    async close() {
      left.abort();
      await discard(body);
    },
  };
}

/**
 * Parts of a blob that is not here, as the upstream sends them: nobody can verify a part. Never stored from.
 *
 * @param wanted what the client asked for, of a blob of `size` bytes; one part or more
 */
export async function passedParts(
  parts: PullParts,
  request: PassedPull,
  wanted: { size: number; ranges: readonly [ByteRange, ...ByteRange[]] },
): Promise<BlobAnswer> {
  const { size, ranges } = wanted;
  const left = new AbortController();
  const signal = AbortSignal.any([request.signal, left.signal]);
  // Asked for before the status is sent, so that what the upstream says of it can still be told.
  let first: FetchedBlob | undefined = await fetchFor(parts, request, { part: ranges[0], signal });

  async function* readPart(part: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
    const fetched = first ?? (await fetchFor(parts, request, { part, signal }));
    first = undefined;
    yield* slice(fetched, part);
  }
  return {
    digest: request.digest,
    size,
    cacheStatus: { hit: false, fwd: 'partial', fwdStatus: 206, detail: unverifiedDetail },
    parts: ranges,
    read: (part) => readPart(part ?? { from: 0, to: size - 1 }),
    async close() {
      left.abort();
      if (first) await discard(first.body);
    },
  };
}

/** The part, of a body that may start before it and end after it: an upstream need not heed a range. */
async function* slice(
  { start, body }: FetchedBlob,
  { from, to }: ByteRange,
): AsyncGenerator<Uint8Array, void, undefined> {
  let position = start;
  for await (const chunk of body as Bytes) {
    const part = chunk.subarray(Math.max(from - position, 0), Math.max(to + 1 - position, 0));
    position += chunk.byteLength;
    if (part.byteLength > 0) yield part;
    if (position > to) return;
  }
}
