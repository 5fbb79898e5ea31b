import type { Buffers } from './buffers.ts';
import type { ByteRange } from './byte-range.ts';
import type { Bytes } from './bytes.ts';
import { lendBuffer } from './lent-buffer.ts';

/** Something that can be read at any position, such as a stored blob or a spool file. */
export interface RandomAccess {
  /** Fills as much of `into` as there is from `position` on; gives the number of bytes, 0 at the end. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Called once, when reading has ended in whatever way. */
  close(): Promise<void>;
}

/**
 * Reads a part, through a pooled buffer. A source that ends before `to` is an error: a short body must never look
 * complete.
 */
export function readRange(source: RandomAccess, { from, to }: ByteRange, buffers: Buffers): Bytes {
  const buffer = lendBuffer(buffers);
  let position = from;
  let ended = false;

  async function end(): Promise<void> {
    if (ended) return;
    ended = true;
    await buffer.giveBack();
    await source.close();
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      if (ended || position > to) {
        await end();
        return { done: true, value: undefined };
      }
      try {
        const bytes = await buffer.fill(to + 1 - position, (into) => source.read(into, position));
        if (ended) return { done: true, value: undefined };
        if (bytes.byteLength === 0) throw new Error(`content ends at byte ${position}, expected ${to + 1} bytes`);
        position += bytes.byteLength;
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
