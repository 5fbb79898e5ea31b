import type { Buffers } from './buffers.ts';

/** One pooled buffer of a reader, had when it is first needed. */
export interface LentBuffer {
  /**
   * Reads at most `length` bytes into it. What it gives holds until the next call.
   *
   * @param read fills as much of `into` as there is; gives the number of bytes, 0 at the end
   */
  fill(length: number, read: (into: Uint8Array) => Promise<number>): Promise<Uint8Array>;
  /** Gives the memory back, once a read under way has landed in it. */
  giveBack(): Promise<void>;
}

/** Lends a buffer of a pool to one reader, which reads one piece at a time. */
export function lendBuffer(buffers: Buffers): LentBuffer {
  let buffer: Uint8Array | undefined;
  let reading: Promise<number> | undefined;

  return {
    async fill(length, read) {
      buffer ??= buffers.take();
      const into = buffer.subarray(0, Math.min(buffer.byteLength, length));
      reading = read(into);
      return into.subarray(0, await reading);
    },
    async giveBack() {
      // One that failed, by a time limit say, may land at any time: nobody else may get that memory.
      const landed = await (reading?.then(
        () => true,
        () => false,
      ) ?? true);
      if (buffer && landed) buffers.give(buffer);
      else if (buffer) buffers.drop(buffer);
      buffer = undefined;
    },
  };
}
