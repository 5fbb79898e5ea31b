import { type Clock, systemClock } from '../runtime/clock.ts';
import { blobFolderOf, isSameDisk } from './blob-folder.ts';
import type { StoreEvent } from './events.ts';
import { createFreeDisk, type FreeDisk } from './free-disk.ts';
import { createKeptBlobs } from './kept-blobs.ts';
import { type SharedBlobs, shareBlobs } from './shared-blobs.ts';
import type { Storage } from './storage.ts';
import { createStoreDeadline } from './store-deadline.ts';
import { timelyStorage } from './timely-storage.ts';
import { createUploadQueue, type UploadQueue } from './upload-queue.ts';

/** A storage as pulls use it. */
export interface PullStorage extends Pick<Storage, 'metadata'> {
  blobs: SharedBlobs;
  /** Whether what leaves the blob store makes room on a disk that is known: `storeDisk`, or the spool's. */
  freesDisk: boolean;
  storeDisk: StoreDisk | undefined;
  /** What dead processes left in the store and cannot be removed, and why. */
  leftovers: readonly string[];
  uploads: Pick<UploadQueue, 'close' | 'isWaiting'>;
}

/** The disk that blobs lie on, where that is known, and is not the spool's. */
export type StoreDisk = FreeDisk<StoredBytes>;

/** A blob that is to be stored. */
export interface StoredBytes {
  /** What the store's disk has of it by now. */
  bytes: number;
}

/** What {@link pullStorage} works with. */
export interface PullStorageParts {
  /** Bytes that may still be written to the spool's disk. */
  room(): number;
  /** Bytes of the store's disk that stay free. Default: 5 % of it, at most 1 GiB. */
  minFree: number | undefined;
  maxWaitingBytes: number | undefined;
  /** Bytes of small blobs in memory. */
  maxKeptBytes: number;
  clock: Clock;
  observe(event: StoreEvent): void;
}

/** How long the store's disk may take to tell what it has left. */
const diskWithinMs = 3_000;

/** Each call bounded in time, what the store does not take kept until it does, and each blob opened once for many, or in memory. */
export function pullStorage(storage: Storage, parts: PullStorageParts): PullStorage {
  const { room, minFree, maxWaitingBytes: maxBytes, maxKeptBytes, clock, observe } = parts;
  const { blobs, metadata } = timelyStorage(storage, clock);
  const { spoolDirectory: directory } = storage;
  const { folder, leftovers = [] } = blobFolderOf(storage.blobs) ?? {};
  const isBesideSpool = folder !== undefined && isSameDisk(folder, directory);
  const uploads = createUploadQueue(blobs, { directory, asksFirst: isBesideSpool, room, maxBytes, clock, observe });
  const kept = createKeptBlobs(uploads, { maxBytes: maxKeptBytes, clock, observe });
  return {
    metadata,
    uploads,
    leftovers,
    freesDisk: folder !== undefined,
    storeDisk:
      folder === undefined || isBesideSpool
        ? undefined
        : createFreeDisk<StoredBytes>(folder, {
            name: 'store',
            minFree,
            presentOf: ({ bytes }) => bytes,
            coming: uploads.waitingBytes,
            diskClock: systemClock,
            deadline: createStoreDeadline(systemClock, diskWithinMs),
          }),
    blobs: shareBlobs(uploads, { kept, clock, observe }),
  };
}
