import type { Bytes } from '../runtime/bytes.ts';
import { isProxyCacheError } from '../runtime/errors.ts';
import type { FreeDisk } from '../store/free-disk.ts';
import type { StoreDisk, StoredBytes } from '../store/pull-storage.ts';
import { withRoom } from './claimed-body.ts';
import type { Room } from './room.ts';
import type { Spool } from './spool.ts';
import type { SpoolFile } from './spool-file.ts';

/** Room for a blob that comes in: on the spool's disk, on the store's, and among what may be stored. */
export interface BlobRoom {
  /** Whether there would be room for what is known of it, as far as that is known. */
  seemsReady(): boolean;
  /** Sees to it that there is for what it has at least. @throws as {@link Spool.claim} and {@link Room.claim} do */
  claimKnown(file: SpoolFile): Promise<void>;
  /** A body with room for all of it, in the end. @throws the same; the body is closed then */
  given(body: { total?: number | undefined; body: Bytes }, file: SpoolFile | undefined): Promise<Bytes>;
  /** Nothing more comes of it; so many bytes of it are stored. */
  release(stored: number): void;
}

/** The disks that a blob comes to. */
export interface BlobDisks {
  spool: Pick<Spool, 'seemsReady' | 'claim' | 'lacks'>;
  storeDisk?: StoreDisk | undefined;
}

type Disk<T> = Pick<FreeDisk<T>, 'claim' | 'lacks'>;

/** What is known of the room that a blob takes. */
export interface Roomy {
  /** How many bytes it has at least, where more is known than the upstream says. */
  leastSize?: number;
  /** How many bytes it is told to have, be it true or not. */
  told?: number | undefined;
  /** Default: it may be stored in any case. */
  room?: Room | undefined;
}

export function createBlobRoom(
  { spool, storeDisk }: BlobDisks,
  { leastSize: least = 0, told = 0, room }: Roomy,
  signal: AbortSignal,
): BlobRoom {
  const stored: StoredBytes = { bytes: 0 };

  /** SEMANTICS 34: where the disk has too little left, what was used the longest ago goes first, if that lies on it. */
  async function claimOrFree<T>(disk: Disk<T>, one: T, bytes: number): Promise<void> {
    try {
      await disk.claim(one, bytes, signal);
    } catch (error) {
      const isFull = isProxyCacheError(error) && error.code === 'storage-full';
      const lacks = disk.lacks(one, bytes);
      // Room for another one like it: to look for what could go is work.
      const wanted = { bytes: lacks + bytes, least: lacks };
      if (!isFull || !room || !(await room.free(wanted, signal))) throw error;
      await disk.claim(one, bytes, signal);
    }
  }

  /** A disk that does not tell is for the store to fail on: what it does not take waits in the spool. */
  async function claimOfStore(disk: StoreDisk, bytes: number): Promise<void> {
    try {
      await claimOrFree(disk, stored, bytes);
    } catch (error) {
      signal.throwIfAborted();
      if (!isProxyCacheError(error) || error.code === 'storage-full') throw error;
    }
  }

  async function claim(file: SpoolFile, bytes: number): Promise<void> {
    if (!storeDisk) return await claimOrFree(spool, file, bytes);
    await claimOfStore(storeDisk, bytes);
    await spool.claim(file, bytes, signal);
  }

  return {
    seemsReady() {
      const hasDisk = spool.seemsReady(least) && (!storeDisk || storeDisk.room() >= least);
      return hasDisk && room?.seemsReady(Math.max(least, told)) !== false;
    },
    async claimKnown(file) {
      // Not for what is told: any repository's manifest may tell anything of anybody's blob.
      if (least > 0) await room?.claim(least, signal);
      await claim(file, least);
    },
    async given({ total, body }, file) {
      const allowed = room
        ? await withRoom({ total, body, least, step: room.step }, (bytes) => room.claim(bytes, signal))
        : body;
      return await withRoom({ total, body: allowed, least }, async (bytes) => file && claim(file, bytes));
    },
    release(bytes) {
      stored.bytes = bytes;
      storeDisk?.release(stored);
      room?.release();
    },
  };
}
