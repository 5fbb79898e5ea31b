import type { Buffers } from './buffers.ts';
import type { Pace } from './pace.ts';

/** One pooled buffer of a reader, had when its first read has its turn. */
export interface LentBuffer {
  /**
   * Reads at most `length` bytes into it. What it gives holds until the next call.
   *
   * @param read fills as much of `into` as there is; gives the number of bytes, 0 at the end
   * @throws what `read` throws, and once it was given back
   */
  fill(length: number, read: (into: Uint8Array) => Promise<number>): Promise<Uint8Array>;
  /** Gives the memory back, once a read under way has landed in it. */
  giveBack(): Promise<void>;
}

/**
 * Lends a buffer of a pool to one reader, which reads one piece at a time.
 *
 * @param pace of the reader. Default: see {@link Buffers.take}
 */
export function lendBuffer(buffers: Buffers, pace?: Pace): LentBuffer {
  let buffer: Uint8Array | undefined;
  let reading: Promise<unknown> = Promise.resolve();
  let isBack = false;

  return {
    async fill(length, read) {
      let into: Uint8Array | undefined;
      const landing = buffers.turns.run(() => {
        if (isBack) throw new Error('the buffer was given back');
        buffer ??= buffers.take(pace, length);
        into = buffer.subarray(0, Math.min(buffer.byteLength, length));
        return read(into);
      });
      reading = landing;
      try {
        const filled = await landing;
        return (into as Uint8Array).subarray(0, filled);
      } catch (error) {
        // One that failed, by a time limit say, may land at any time: nobody may read into that memory again.
        if (into && buffer) buffers.drop(buffer);
        if (into) buffer = undefined;
        throw error;
      }
    },
    async giveBack() {
      isBack = true;
      await reading.catch(() => undefined);
      if (buffer) buffers.give(buffer);
      buffer = undefined;
    },
  };
}
