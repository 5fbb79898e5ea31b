import type { Digest } from '../oci/digest.ts';
import { type ByteRange, type RangeSpec, satisfiableRanges } from '../runtime/byte-range.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { readRange } from '../runtime/read-range.ts';
import type { OpenBlob } from '../store/blob-store.ts';
import type { BlobAnswer, CacheStatus } from './answer.ts';
import type { PullParts } from './pull-parts.ts';

/**
 * Opens a blob of the store. A store that fails is as good as one that has it not: the upstream is there. So is one that
 * has it in another size than its repository proved; that is removed, to be fetched again.
 */
export async function openStored(
  parts: PullParts,
  blob: { digest: Digest; size: number | undefined },
  signal: AbortSignal,
): Promise<OpenBlob | undefined> {
  const { digest, size } = blob;
  try {
    const open = await parts.blobs.open(digest, { signal });
    if (!open || size === undefined || open.size === size) return open;
    await open.close();
    await parts.blobs.delete(digest, { signal });
    throw new Error(`the stored blob has ${open.size} bytes instead of ${size}; it is fetched again`);
  } catch (error) {
    signal.throwIfAborted();
    parts.observe({
      type: 'store-failed',
      operation: 'open',
      subject: digest,
      error: String((error as Error).message),
    });
    return undefined;
  }
}

/** A stored blob, ready to be read. */
export function storedAnswer(
  parts: PullParts,
  stored: { digest: Digest; blob: OpenBlob; ranges: readonly RangeSpec[] | undefined },
  answered: { cacheStatus: CacheStatus; signal: AbortSignal },
): BlobAnswer {
  const { digest, blob, ranges } = stored;
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    await blob.close();
  };
  return {
    digest,
    size: blob.size,
    cacheStatus: answered.cacheStatus,
    ...(ranges?.length && { parts: satisfiableRanges(ranges, blob.size) }),
    read(part) {
      if (blob.kind === 'file') {
        // Several parts share the one open blob; `close()` of the answer closes it.
        const shared = { read: blob.read, close: async () => undefined };
        return readRange(shared, part ?? { from: 0, to: blob.size - 1 }, parts.buffers);
      }
      return part ? readPart(parts, { digest, part, signal: answered.signal }) : blob.body;
    },
    close,
  };
}

/** A part of a blob that is no local file: opened anew for it. */
async function* readPart(
  parts: PullParts,
  { digest, part, signal }: { digest: Digest; part: ByteRange; signal: AbortSignal },
): Bytes & AsyncGenerator<Uint8Array, void, undefined> {
  const blob = await parts.blobs.open(digest, { range: part, signal });
  if (!blob) throw new Error(`${digest} has left the store`);
  try {
    if (blob.kind === 'stream') yield* blob.body;
    else yield* readRange({ read: blob.read, close: async () => undefined }, part, parts.buffers);
  } finally {
    await blob.close();
  }
}
