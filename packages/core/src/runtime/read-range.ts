import type { Buffers } from './buffers.ts';
import type { ByteRange } from './byte-range.ts';
import type { Bytes } from './bytes.ts';

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
  let position = from;
  let buffer: Uint8Array | undefined;
  let reading: Promise<number> | undefined;
  let ended = false;

  async function end(): Promise<void> {
    if (ended) return;
    ended = true;
    // A read under way still writes into the buffer: it must land before anyone else gets that memory. One that failed,
    // by a time limit say, may land at any time.
    const landed = await (reading?.then(
      () => true,
      () => false,
    ) ?? true);
    if (buffer && landed) buffers.give(buffer);
    else if (buffer) buffers.drop(buffer);
    buffer = undefined;
    await source.close();
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      if (ended || position > to) {
        await end();
        return { done: true, value: undefined };
      }
      try {
        buffer ??= buffers.take();
        reading = source.read(buffer.subarray(0, Math.min(buffer.byteLength, to + 1 - position)), position);
        const length = await reading;
        if (ended || !buffer) return { done: true, value: undefined };
        if (length === 0) throw new Error(`content ends at byte ${position}, expected ${to + 1} bytes`);
        position += length;
        return { done: false, value: buffer.subarray(0, length) };
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
