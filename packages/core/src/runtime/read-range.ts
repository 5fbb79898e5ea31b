import type { Buffers } from './buffers.ts';
import type { ByteRange } from './byte-range.ts';
import type { Bytes } from './bytes.ts';
import { lendBuffer } from './lent-buffer.ts';
import { createPaceMeter } from './pace.ts';

/** Something that can be read at any position, such as a stored blob or a spool file. */
export interface RandomAccess {
  /** Fills as much of `into` as there is from `position` on; gives the number of bytes, 0 at the end. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Called once, when reading has ended in whatever way. */
  close(): Promise<void>;
}

/** A part that is being read, or waits to be taken, or was. */
interface Piece {
  bytes: Promise<Uint8Array>;
  /** Gives its memory back. */
  letGo(): Promise<void>;
}

/**
 * Reads a part, through pooled buffers: while a quick consumer works on one piece, the next is read. A source that ends
 * before `to` is an error: a short body must never look complete.
 */
export function readRange(source: RandomAccess, { from, to }: ByteRange, buffers: Buffers): Bytes {
  const pace = createPaceMeter(buffers.clock);
  let position = from;
  let given: Piece | undefined;
  let ahead: Piece | undefined;
  let ended = false;

  function readOn(): Piece {
    const at = position;
    const buffer = lendBuffer(buffers, pace.current());
    const bytes = buffer.fill(to + 1 - at, (into) => source.read(into, at));
    // A failure is told when its turn comes.
    bytes.catch(() => undefined);
    return { bytes, letGo: buffer.giveBack };
  }

  async function end(): Promise<void> {
    if (ended) return;
    ended = true;
    await Promise.all([given?.letGo(), ahead?.letGo()]);
    await source.close();
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      pace.asked();
      if (ended || position > to) {
        await end();
        return { done: true, value: undefined };
      }
      try {
        if (given) await given.letGo();
        if (ended) return { done: true, value: undefined };
        given = ahead ?? readOn();
        ahead = undefined;
        const bytes = await given.bytes;
        if (ended) return { done: true, value: undefined };
        if (bytes.byteLength === 0) throw new Error(`content ends at byte ${position}, expected ${to + 1} bytes`);
        position += bytes.byteLength;
        if (position <= to && buffers.hasRoom(pace.current())) ahead = readOn();
        pace.given(bytes.byteLength);
        return { done: false, value: bytes };
      } catch (error) {
        await end();
        throw error;
      }
    },
    async return() {
      await end();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/** The same of a source that several readers share: whoever opened it closes it. */
export function readOpenFile(source: Pick<RandomAccess, 'read'>, part: ByteRange, buffers: Buffers): Bytes {
  return readRange({ read: source.read, close: async () => undefined }, part, buffers);
}
