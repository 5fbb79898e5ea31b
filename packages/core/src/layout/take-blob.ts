import type { FileHandle } from 'node:fs/promises';
import type { Digest } from '../oci/digest.ts';
import { isStored } from '../pull/keep-blob.ts';
import type { PullParts } from '../pull/pull-parts.ts';
import type { Target } from '../pull/target.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { abortable } from '../runtime/collapse.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import { blobPath, invalid, openLayoutFile } from './layout-files.ts';

/** A blob of a layout. */
export interface LayoutBlob {
  target: Target;
  /** As `realpath` gives it. */
  directory: string;
  digest: Digest;
  size: number;
  signal: AbortSignal;
}

// It comes from a disk.
const patienceMs = 60_000;

/** Whoever has its bytes from this transfer has proved to hold them by itself. */
const startedFor = 'image layout';

/**
 * Takes a blob of a layout into the store as it takes one from an upstream: verified, and within the room that there is.
 * Nobody may read it by that.
 *
 * @returns how many bytes came; 0 where it is here
 * @throws ProxyCacheError `layout-invalid` for one that is missing, or not what its descriptor says; `storage-full`,
 * `quota-exceeded`, `storage-failed`; the signal's reason
 */
export async function takeBlob(parts: PullParts, blob: LayoutBlob): Promise<number> {
  const { target, directory, digest, size, signal } = blob;
  await checkSize(blob);
  if (await isStored(parts, digest, signal)) return 0;
  const { upstream, repository } = target.place;
  const fetch = async (from: number) => {
    const handle = await openLayoutFile(directory, blobPath(directory, digest));
    if (!handle) throw missing(digest);
    return { kind: 'found' as const, value: { start: from, total: size, body: readFrom(handle, from) } };
  };
  const running = parts.ingests.find(upstream, digest);
  const ingest =
    running ??
    parts.ingests.start(
      {
        ...{ upstream, repository, digest, fetch, told: size },
        room: parts.roomFor({ upstream, isSpare: false }),
        resumeWithinMs: patienceMs,
        firstByteWithinMs: patienceMs,
      },
      startedFor,
    );
  const leave = ingest.join();
  try {
    await abortable(ingest.verified, signal);
    await abortable(ingest.ended, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (isUpstreamError(error) && error.code === 'digest-mismatch') {
      throw invalid(`${digest} has other bytes than its digest says`);
    }
    throw error;
  } finally {
    leave({ endsAlone: true });
  }
  if (await isStored(parts, digest, signal)) return ingest.received();
  throw new ProxyCacheError('storage-failed', `${digest} was verified, and the store did not take it`);
}

async function checkSize({ directory, digest, size }: LayoutBlob): Promise<void> {
  const handle = await openLayoutFile(directory, blobPath(directory, digest));
  if (!handle) throw missing(digest);
  try {
    const { size: own } = await handle.stat();
    if (own !== size) throw invalid(`${digest} has ${own} bytes, and not ${size}`);
  } finally {
    await handle.close();
  }
}

const missing = (digest: Digest) => invalid(`${digest} is missing`);

function readFrom(handle: FileHandle, from: number): Bytes {
  const stream = handle.createReadStream({ start: from, highWaterMark: 1024 * 1024 });
  const chunks = stream[Symbol.asyncIterator]();
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => chunks.next(),
      // Also before the first chunk was asked for.
      async return() {
        stream.destroy();
        await handle.close().catch(() => undefined);
        return { done: true, value: undefined };
      },
    }),
  };
}
