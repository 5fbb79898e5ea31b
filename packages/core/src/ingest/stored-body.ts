import type { Digest } from '../oci/digest.ts';
import type { Bytes } from '../runtime/bytes.ts';
import type { Slabs } from '../runtime/slabs.ts';
import type { BlobStore, OpenBlob } from '../store/blob-store.ts';
import type { FetchedBlob } from '../upstream/upstream.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';

/**
 * Reads a blob that another process has stored meanwhile, from a byte on. Its chunks are the reader's to keep.
 *
 * @returns `undefined`: it is not stored, or ends before
 * @throws what the store throws; from `next()` of the body UpstreamError, so that whoever reads goes on elsewhere
 */
export async function storedBody(
  { blobs, slabs }: { blobs: BlobStore; slabs: Slabs },
  { upstream, digest, from, signal }: { upstream: string; digest: Digest; from: number; signal: AbortSignal },
): Promise<FetchedBlob | undefined> {
  let blob = await blobs.open(digest, { forBytes: from === 0, signal });
  if (!blob) return undefined;
  const { size } = blob;
  if (from >= size) {
    await blob.close();
    return undefined;
  }
  if (blob.kind === 'stream' && from > 0) {
    await blob.close();
    blob = await blobs.open(digest, { range: { from, to: size - 1 }, signal });
    if (!blob) return undefined;
  }
  const failed = (cause: unknown) =>
    new UpstreamError('unreachable', `the store failed to give ${digest}: ${(cause as Error).message}`, {
      upstream,
      cause,
    });
  return { start: from, total: size, body: closing(blob, chunksOf(blob, { from, slabs }), failed) };
}

async function* chunksOf(
  blob: OpenBlob,
  { from, slabs }: { from: number; slabs: Slabs },
): AsyncGenerator<Uint8Array, void, undefined> {
  if (blob.kind === 'stream') {
    for await (const chunk of blob.body) yield Uint8Array.from(chunk);
    return;
  }
  for (let position = from; position < blob.size; ) {
    // It comes back by whoever the bytes are given to; where reading fails, it may still be written to.
    const memory = slabs.take();
    const into = memory.subarray(0, Math.min(blob.size - position, memory.byteLength));
    const count = await blob.read(into, position);
    if (count === 0) throw new Error(`it ends at byte ${position}`);
    position += count;
    yield into.subarray(0, count);
  }
}

/** The same chunks; the blob is closed with them, also where nobody took the first one. */
function closing(
  blob: OpenBlob,
  chunks: AsyncGenerator<Uint8Array, void, undefined>,
  failed: (why: unknown) => Error,
): Bytes {
  let ended = false;

  async function finish(): Promise<IteratorReturnResult<undefined>> {
    if (!ended) {
      ended = true;
      await Promise.allSettled([chunks.return(), blob.close()]);
    }
    return { done: true, value: undefined };
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      if (ended) return { done: true, value: undefined };
      try {
        const result = await chunks.next();
        return result.done ? await finish() : result;
      } catch (error) {
        const wasLeft = ended;
        await finish();
        if (wasLeft) return { done: true, value: undefined };
        throw failed(error);
      }
    },
    return: finish,
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
