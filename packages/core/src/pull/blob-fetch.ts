import type { FetchFrom } from '../ingest/steady-body.ts';
import type { Digest } from '../oci/digest.ts';
import { type Bytes, discard } from '../runtime/bytes.ts';
import type { Slabs } from '../runtime/slabs.ts';
import type { FetchedBlob } from '../upstream/upstream.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import { toldSize } from './blob-proof.ts';
import { blobTooLarge, expectBlobSize } from './blob-size.ts';
import type { PullParts } from './pull-parts.ts';
import { queryOf, type Target } from './target.ts';

// What a manifest says may be wrong by mistake, and nobody has to heed it: it bounds what has no other bound.
const mostBeyond = (told: number) => 2 * told + 16 * 1024 * 1024;

/**
 * Asks the target for a blob, each time with `blobWithin` of its own; the first time it counts from `since`. A body without a length, of which a manifest tells
 * the size, ends in UpstreamError `too-large` where it goes on far beyond that. One that is larger than `maxBlobBytes` is
 * refused as `blob-too-large`, or ends so where its length is not told.
 *
 * @param blob.since `clock.monotonic()` ms at which whoever asks began to wait; default: then
 * @param blob.slabs memory for the body, which its reader gives back; default: fresh memory
 * @param to the last byte wanted; default: all
 */
export function blobFetch(
  parts: PullParts,
  { target, digest, since, slabs }: { target: Target; digest: Digest; since?: number | undefined; slabs?: Slabs },
  to?: number,
): FetchFrom {
  const { client, blobWithinMs, maxBlobBytes } = target.upstream;
  const isBound = maxBlobBytes !== Number.POSITIVE_INFINITY;
  let waitedSince = since;
  return async (from, signal, ifMatch) => {
    const start = waitedSince ?? parts.clock.monotonic();
    waitedSince = undefined;
    // Before it is asked for, where the repository's own manifest tells.
    if (isBound) expectBlobSize(target, digest, await toldSize(parts, target, { digest, signal }));
    const reply = await client.fetchBlob({
      ...queryOf(target, start, { ms: blobWithinMs, signal }),
      digest,
      from,
      ...(to !== undefined && { to }),
      ...(ifMatch !== undefined && { ifMatch }),
      ...(slabs && { slabs }),
    });
    if (reply.kind !== 'found') return reply;
    const { value: blob } = reply;
    if (blob.total === undefined) return { kind: 'found', value: bounded(await withEnd(blob, signal)) };
    if (blob.total <= maxBlobBytes) return reply;
    await discard(blob.body);
    throw blobTooLarge(target, digest, blob.total);
  };

  /** Cut off where it becomes too large. */
  function bounded(blob: FetchedBlob): FetchedBlob {
    if (!isBound) return blob;
    return { ...blob, body: atMost(blob.body, maxBlobBytes - blob.start, () => blobTooLarge(target, digest)) };
  }

  async function withEnd(blob: FetchedBlob, signal: AbortSignal): Promise<FetchedBlob> {
    let told: number | undefined;
    try {
      told = await toldSize(parts, target, { digest, signal });
    } catch (error) {
      await discard(blob.body);
      throw error;
    }
    if (told === undefined) return blob;
    const { upstream } = target.place;
    const message = `${upstream} sent more than ${mostBeyond(told)} bytes for ${digest}, whose manifest says ${told}`;
    const tooLarge = () => new UpstreamError('too-large', message, { upstream });
    return { ...blob, body: atMost(blob.body, mostBeyond(told) - blob.start, tooLarge) };
  }
}

function atMost(body: Bytes, bytes: number, tooLarge: () => Error): Bytes {
  const source = body[Symbol.asyncIterator]();
  let left = bytes;
  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      const result = await source.next();
      if (result.done) return { done: true, value: undefined };
      left -= result.value.byteLength;
      if (left >= 0) return result;
      await source.return?.();
      throw tooLarge();
    },
    async return() {
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
