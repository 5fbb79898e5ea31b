import type { FileHandle } from 'node:fs/promises';
import type { RunningIngest } from '../ingest/ingests.ts';
import type { Digest } from '../oci/digest.ts';
import { isStored } from '../pull/keep-blob.ts';
import type { PullParts } from '../pull/pull-parts.ts';
import type { Target } from '../pull/target.ts';
import { whenPlaceIsFree } from '../pull/when-place-is-free.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { abortable } from '../runtime/collapse.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import { blobPath, hasDigest, invalid, openLayoutFile } from './layout-files.ts';

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

// Another transfer may begin each time one has failed.
const mostTries = 5;

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
  const { digest, signal } = blob;
  await checkSize(blob);
  if (await isStored(parts, digest, signal)) return 0;
  // Clients read along: what is wrong must not come between them and an upstream that has it right.
  await checkBytes(blob);
  return await whenPlaceIsFree(() => bring(parts, blob), { clock: parts.clock, signal });
}

async function bring(parts: PullParts, blob: LayoutBlob): Promise<number> {
  const { target, directory, digest, size, signal } = blob;
  const { upstream, repository } = target.place;
  const fetch = async (from: number) => {
    const handle = await openLayoutFile(directory, blobPath(directory, digest));
    if (!handle) throw missing(digest);
    return { kind: 'found' as const, value: { start: from, total: size, body: readFrom(handle, from) } };
  };
  const start = () =>
    parts.ingests.start(
      {
        ...{ upstream, repository, digest, fetch, told: size },
        room: parts.roomFor({ upstream, isSpare: false }),
        resumeWithinMs: patienceMs,
        firstByteWithinMs: patienceMs,
      },
      startedFor,
    );
  for (let tries = 1; ; tries++) {
    const running = parts.ingests.find(upstream, digest);
    try {
      return await taken(parts, running ?? start(), { digest, signal });
    } catch (error) {
      signal.throwIfAborted();
      // What an upstream did not send, or sent wrong, is here.
      if (running && tries < mostTries) continue;
      if (isUpstreamError(error) && error.code === 'digest-mismatch') throw otherBytes(digest);
      throw error;
    }
  }
}

async function taken(
  parts: PullParts,
  ingest: RunningIngest,
  { digest, signal }: Pick<LayoutBlob, 'digest' | 'signal'>,
): Promise<number> {
  const leave = ingest.join();
  try {
    await abortable(ingest.verified, signal);
    await abortable(ingest.ended, signal);
  } finally {
    leave({ endsAlone: true });
  }
  if (await isStored(parts, digest, signal)) return ingest.received();
  throw new ProxyCacheError('storage-failed', `${digest} was verified, and the store did not take it`);
}

async function checkBytes({ directory, digest, signal }: LayoutBlob): Promise<void> {
  if (!(await hasDigest(directory, { digest, signal }))) throw otherBytes(digest);
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

const otherBytes = (digest: Digest) => invalid(`${digest} has other bytes than its digest says`);

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
