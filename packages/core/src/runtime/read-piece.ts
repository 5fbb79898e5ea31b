import type { Buffers } from './buffers.ts';
import type { RandomAccess } from './read-range.ts';

/** Content that is here as a whole, in a buffer of a pool. */
export interface Piece {
  bytes: Uint8Array;
  /** Gives the memory back; nobody may look at the bytes from now on. */
  letGo(): void;
}

/** What is longer is read while what came before is on its way. */
const longestPiece = 1024 * 1024;

/**
 * Reads the whole of a short source at once: a body that is read chunk by chunk costs more than the read itself.
 *
 * @returns `undefined` where the pool has no room for all of it, or the source is shorter: it is to be read by range
 * @throws what the source throws
 */
export async function readPiece(
  source: Pick<RandomAccess, 'read'>,
  size: number,
  buffers: Buffers,
): Promise<Piece | undefined> {
  if (size === 0 || size > longestPiece) return undefined;
  let buffer: Uint8Array | undefined;
  let filled: number | undefined;
  try {
    filled = await buffers.turns.run(async () => {
      const taken = buffers.take('new', size);
      if (taken.byteLength < size) return void buffers.give(taken);
      buffer = taken;
      return source.read(taken.subarray(0, size), 0);
    });
  } catch (error) {
    // One that failed, by a time limit say, may land at any time: nobody may read into that memory again.
    if (buffer) buffers.drop(buffer);
    throw error;
  }
  if (!buffer) return undefined;
  const given = buffer;
  if (filled === size) return { bytes: given.subarray(0, size), letGo: () => buffers.give(given) };
  buffers.give(given);
  return undefined;
}
