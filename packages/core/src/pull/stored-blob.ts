import type { Digest } from '../oci/digest.ts';
import { type ByteRange, type RangeSpec, satisfiableRanges } from '../runtime/byte-range.ts';
import { type Bytes, resumed } from '../runtime/bytes.ts';
import { readOpenFile } from '../runtime/read-range.ts';
import type { OpenBlob } from '../store/blob-store.ts';
import { storeFailed } from '../store/events.ts';
import type { BlobAnswer, CacheStatus } from './answer.ts';
import { type CheckStored, createCheckStored, type OpenStored, type StoredBlob } from './check-stored.ts';
import type { PullParts } from './pull-parts.ts';

/** How a stored blob is to be answered. */
export interface StoredPull {
  ranges: readonly RangeSpec[] | undefined;
  cacheStatus: CacheStatus;
  signal: AbortSignal;
  /** Where the rest comes from when the store fails half-way. Default: nowhere. */
  refetch?: () => Promise<BlobAnswer>;
}

/** The blobs of the store, as pulls see them: one that fails is as good as one that is not there. */
export interface StoredBlobs {
  open: OpenStored;
  check: CheckStored;
  answer(stored: StoredBlob, pull: StoredPull): BlobAnswer;
}

export function createStoredBlobs(parts: PullParts): StoredBlobs {
  let openings = 0;

  function failed(operation: string, digest: Digest, error: unknown): void {
    parts.observe(storeFailed(operation, digest, error));
  }

  async function open(digest: Digest, signal: AbortSignal): Promise<StoredBlob | undefined> {
    const openedAt = parts.clock.now();
    const opening = ++openings;
    try {
      const blob = await parts.blobs.open(digest, { signal });
      return blob && { digest, blob: closingQuietly(blob, digest), openedAt, opening };
    } catch (error) {
      signal.throwIfAborted();
      failed('open', digest, error);
      return undefined;
    }
  }

  /** How a blob was let go costs no pull what was read of it. */
  function closingQuietly(blob: OpenBlob, digest: Digest): OpenBlob {
    const close = () => blob.close().catch((error: unknown) => failed('close', digest, error));
    return { ...blob, close };
  }

  function answer(stored: StoredBlob, pull: StoredPull): BlobAnswer {
    const { digest, blob } = stored;
    const { ranges, cacheStatus, signal, refetch } = pull;
    const replacements: BlobAnswer[] = [];
    let closed = false;

    function readPart(part: ByteRange | undefined): Bytes {
      if (blob.kind === 'file') return readOpenFile(blob, part ?? { from: 0, to: blob.size - 1 }, parts.buffers);
      return part ? reopened(parts, { digest, part, signal }) : blob.body;
    }

    async function goOn(rest: ByteRange, error: unknown): Promise<Bytes> {
      signal.throwIfAborted();
      failed('read', digest, error);
      if (!refetch) throw error;
      const replacement = await refetch();
      replacements.push(replacement);
      if (closed) await replacement.close();
      return replacement.read(rest);
    }

    return {
      digest,
      size: blob.size,
      cacheStatus,
      ...(ranges?.length && { parts: satisfiableRanges(ranges, blob.size) }),
      read(part) {
        const { from, to } = part ?? { from: 0, to: blob.size - 1 };
        return resumed(readPart(part), to - from + 1, (done, error) => goOn({ from: from + done, to }, error));
      },
      async close() {
        if (closed) return;
        closed = true;
        await Promise.all([blob, ...replacements].map((opened) => opened.close()));
      },
    };
  }

  return {
    open,
    check: createCheckStored(parts, open),
    answer,
  };
}

/** A part of a blob that is no local file: opened anew for it. */
async function* reopened(
  parts: PullParts,
  { digest, part, signal }: { digest: Digest; part: ByteRange; signal: AbortSignal },
): Bytes & AsyncGenerator<Uint8Array, void, undefined> {
  const blob = await parts.blobs.open(digest, { range: part, signal });
  if (!blob) throw new Error(`${digest} has left the store`);
  try {
    yield* blob.kind === 'file' ? readOpenFile(blob, part, parts.buffers) : blob.body;
  } finally {
    await blob.close();
  }
}
