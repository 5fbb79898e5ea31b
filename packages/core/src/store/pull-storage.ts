import type { Clock } from '../runtime/clock.ts';
import { adoptsAtOnce } from './adopts-at-once.ts';
import type { StoreEvent } from './events.ts';
import { createKeptBlobs } from './kept-blobs.ts';
import { type SharedBlobs, shareBlobs } from './shared-blobs.ts';
import type { Storage } from './storage.ts';
import { timelyStorage } from './timely-storage.ts';
import { createUploadQueue, type UploadQueue } from './upload-queue.ts';

/** A storage as pulls use it. */
export interface PullStorage extends Pick<Storage, 'metadata'> {
  blobs: SharedBlobs;
  /** Whether what leaves the blob store makes room on the spool's disk. */
  sharesDisk: boolean;
  uploads: Pick<UploadQueue, 'close' | 'isWaiting'>;
}

/** What {@link pullStorage} works with. */
export interface PullStorageParts {
  /** Bytes that may still be written to the spool's disk. */
  room(): number;
  maxWaitingBytes: number | undefined;
  /** Bytes of small blobs in memory. */
  maxKeptBytes: number;
  clock: Clock;
  observe(event: StoreEvent): void;
}

/** Each call bounded in time, what the store does not take kept until it does, and each blob opened once for many, or in memory. */
export function pullStorage(storage: Storage, parts: PullStorageParts): PullStorage {
  const { room, maxWaitingBytes: maxBytes, maxKeptBytes, clock, observe } = parts;
  const { blobs, metadata } = timelyStorage(storage, clock);
  // A file that is moved from the one to the other is on the same disk.
  const sharesDisk = adoptsAtOnce(storage.blobs);
  const uploads = createUploadQueue(blobs, {
    directory: storage.spoolDirectory,
    asksFirst: sharesDisk,
    room,
    maxBytes,
    clock,
    observe,
  });
  const kept = createKeptBlobs(uploads, { maxBytes: maxKeptBytes, clock, observe });
  return { metadata, uploads, sharesDisk, blobs: shareBlobs(uploads, { kept, clock, observe }) };
}
