import type { Bytes } from '../runtime/bytes.ts';
import { isProxyCacheError } from '../runtime/errors.ts';
import { withRoom } from './claimed-body.ts';
import { presentOf } from './disk-claims.ts';
import type { Room } from './room.ts';
import type { Spool } from './spool.ts';
import type { SpoolFile } from './spool-file.ts';

/** Room for a blob that comes in: on the spool's disk, and among what may be stored. */
export interface BlobRoom {
  /** Whether there would be room for what is known of it, as far as that is known. */
  seemsReady(): boolean;
  /** Sees to it that there is for what it has at least. @throws as {@link Spool.claim} and {@link Room.claim} do */
  claimKnown(file: SpoolFile): Promise<void>;
  /** A body with room for all of it, in the end. @throws the same; the body is closed then */
  given(body: { total?: number | undefined; body: Bytes }, file: SpoolFile | undefined): Promise<Bytes>;
}

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
  spool: Pick<Spool, 'seemsReady' | 'claim' | 'room'>,
  { leastSize: least = 0, told = 0, room }: Roomy,
  signal: AbortSignal,
): BlobRoom {
  /** SEMANTICS 34: where the disk has too little left, what was used the longest ago goes first. */
  async function claim(file: SpoolFile, bytes: number): Promise<void> {
    try {
      await spool.claim(file, bytes, signal);
    } catch (error) {
      const isFull = isProxyCacheError(error) && error.code === 'storage-full';
      const least = bytes - presentOf(file) - spool.room();
      // Room for another one like it: to look for what could go is work.
      const wanted = { bytes: least + bytes, least };
      if (!isFull || !room || !(await room.free(wanted, signal))) throw error;
      await spool.claim(file, bytes, signal);
    }
  }

  return {
    seemsReady: () => spool.seemsReady(least) && room?.seemsReady(Math.max(least, told)) !== false,
    async claimKnown(file) {
      // Not for what is told: any repository's manifest may tell anything of anybody's blob.
      if (least > 0) await room?.claim(least, signal);
      await claim(file, least);
    },
    async given({ total, body }, file) {
      const stored = room
        ? await withRoom({ total, body, least, step: room.step }, (bytes) => room.claim(bytes, signal))
        : body;
      return await withRoom({ total, body: stored, least }, async (bytes) => file && claim(file, bytes));
    },
  };
}
