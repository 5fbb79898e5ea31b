import { type Digest, parseDigest } from '../oci/digest.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import type { BlobStore, OpenBlob, StoredBlob } from './blob-store.ts';
import { storeFailed } from './events.ts';
import { openFileBlob } from './file-open.ts';
import { orFail } from './file-system.ts';
import { createLeftBlobs } from './left-blobs.ts';
import { mergedListing } from './merged-listing.ts';
import { createStoreDeadline } from './store-deadline.ts';
import { openInTime } from './timely-blobs.ts';
import { createUploads } from './uploads.ts';
import { createWaitingBlobs, type WaitingBlobsParts } from './waiting-blobs.ts';
import { createWaitingFolder } from './waiting-folder.ts';

/** A store, and before it what it did not take yet; see {@link createUploadQueue}. */
export interface UploadQueue extends BlobStore {
  /** Whether a blob waits here for the store. */
  isWaiting(digest: Digest): boolean;
  /** Bytes that wait here for the store. */
  waitingBytes(): number;
  /** Lets uploads end by themselves for `graceMs`; what still waits then stays on the disk. Never rejects. */
  close(graceMs: number): Promise<void>;
}

/** What {@link createUploadQueue} works with. */
export interface UploadQueueParts extends WaitingBlobsParts {
  /** Of the spool. */
  directory: string;
  /** Whether a blob is kept only when the store did not take it: one that takes it at once. Default false. */
  asksFirst?: boolean;
  /** What a call of the disk is timed by. Default: the machine's clock. */
  diskClock?: Clock;
}

/** As for the spool. */
const diskWithinMs = 3_000;

/** How often it is looked whether a process has died: of another host only its silence tells. */
const lookEveryMs = 60_000;

/**
 * Keeps verified blobs that a store fails to take, or is slow to, as files of the spool, and stores them when it does.
 * Meanwhile they are read from there, and all else is as if they were stored. They outlive the process: a queue of the same
 * folder takes over what dead ones left. What does not fit is refused, as by the store itself.
 */
export function createUploadQueue(blobs: BlobStore, parts: UploadQueueParts): UploadQueue {
  const { directory, asksFirst = false, clock, observe, diskClock = systemClock } = parts;
  const folder = createWaitingFolder(directory, clock);
  const waiting = createWaitingBlobs(parts);
  const disk = createStoreDeadline(diskClock, diskWithinMs);
  const uploads = createUploads(blobs, { waiting, clock, observe });
  const { turns } = uploads;
  const left = createLeftBlobs({ folder, waiting, look: turns.look, clock, observe });
  let isClosed = false;
  let stopTimer: (() => void) | undefined;
  let starting: Promise<void> | undefined = lookForLeft().catch((error) => {
    observe(storeFailed('upload', directory, error));
  });

  async function lookForLeft(): Promise<void> {
    try {
      await disk.run({ operation: 'take over' }, left.takeOver);
    } finally {
      starting = undefined;
      if (!isClosed) stopTimer = clock.after(lookEveryMs, () => void lookForLeft().catch(() => undefined));
    }
  }

  /** Lets bytes wait that the store refused. @throws why, where they cannot */
  async function writeDown(digest: Digest, bytes: Uint8Array, why: unknown): Promise<void> {
    const size = bytes.byteLength;
    const path = await disk
      .run({ operation: 'spool keep', rests: false }, async () =>
        waiting.fits(size) ? folder.write(bytes, digest) : undefined,
      )
      .catch(() => undefined);
    if (path === undefined) throw why;
    uploads.letWait(await waiting.keep({ path, digest, size }, true), why);
  }

  async function openWaiting(digest: Digest, signal: AbortSignal): Promise<OpenBlob | undefined> {
    signal.throwIfAborted();
    if (starting !== undefined) await abortable(starting, signal);
    const blob = waiting.get(digest);
    if (!blob || !(await abortable(left.isRight(blob), signal))) return undefined;
    try {
      return await openInTime((given) => openFileBlob(blob.path, given), disk, signal);
    } catch (error) {
      signal.throwIfAborted();
      observe(storeFailed('open', digest, error));
      return undefined;
    }
  }

  /** Takes a blob out of what waits here. @returns whether the store may have none of it */
  async function takeOut(digest: Digest, unlessStoredAfter = Number.POSITIVE_INFINITY): Promise<boolean> {
    const blob = waiting.get(digest);
    if (!blob || blob.storedAt > unlessStoredAfter) return false;
    return await waiting.discard(blob);
  }

  async function* listed(...[options]: Parameters<BlobStore['digests']>): AsyncGenerator<StoredBlob, void, undefined> {
    const { after, signal } = options;
    if (starting !== undefined) await abortable(starting, signal);
    for await (const blob of mergedListing(waiting.list(after), blobs.digests(options))) {
      signal.throwIfAborted();
      yield blob;
    }
  }

  return {
    isWaiting: (digest) => waiting.get(digest)?.waitsSince !== undefined,
    waitingBytes: waiting.bytes,
    async open(digest, options) {
      const waits =
        starting !== undefined || waiting.count() > 0 ? await openWaiting(digest, options.signal) : undefined;
      return waits ?? (await turns.asking(() => blobs.open(digest, options)));
    },
    async adopt(blob) {
      const { file, digest, size, signal } = blob;
      signal.throwIfAborted();
      parseDigest(digest);
      let refusal: { why: unknown } | undefined;
      if (asksFirst && !turns.isResting()) {
        refusal = await turns
          .storing(() => blobs.adopt(blob), signal)
          .then(
            () => undefined,
            (why) => ({ why }),
          );
        if (!refusal) return void (await takeOut(digest));
      }
      const path = await disk
        .run({ operation: 'spool keep', rests: false }, () => folder.take(file, { digest, size }))
        .catch(() => undefined);
      if (path === undefined) {
        if (refusal) throw refusal.why;
        // Of another file system, or on a disk that takes nothing: the store may take it at once.
        return await turns.storing(() => blobs.adopt(blob), signal);
      }
      await uploads.takeIn(await waiting.keep({ path, digest, size }, true), { file, signal, refusal });
    },
    async put(blob) {
      const { digest, bytes, signal } = blob;
      signal.throwIfAborted();
      parseDigest(digest);
      try {
        await turns.storing(() => blobs.put(blob), signal);
        await takeOut(digest);
      } catch (error) {
        signal.throwIfAborted();
        await writeDown(digest, bytes, error);
      }
    },
    async delete(digest, options) {
      options.signal.throwIfAborted();
      const wasHere = await takeOut(digest, options.unlessStoredAfter).catch(
        orFail(`delete ${digest}`, options.signal),
      );
      return (await turns.asking(() => blobs.delete(digest, options))) || wasHere;
    },
    async quarantine(digest, options) {
      options.signal.throwIfAborted();
      // What was read was this one; of the store's own nothing is known.
      if (await takeOut(digest, options.unlessStoredAfter).catch(orFail(`quarantine ${digest}`, options.signal)))
        return true;
      return await turns.asking(() => blobs.quarantine(digest, options));
    },
    digests: listed,
    async close(graceMs) {
      isClosed = true;
      stopTimer?.();
      await uploads.close(graceMs);
      await left.close();
      await starting;
      await folder.leave();
    },
  };
}
