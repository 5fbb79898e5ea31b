import type { SpoolFile } from './spool-file.ts';

// Read at a time, whatever the size of what is compared.
const windowBytes = 64 * 1024;

/** Tells where a body differs from what a file has. */
export interface Comparison {
  /**
   * Takes the next chunk of the body.
   *
   * @returns the position of the first byte that is another, or that only one of them has; `undefined`: so far none
   */
  take(chunk: Uint8Array): Promise<number | undefined>;
  close(): Promise<void>;
}

/** Compares with the first `length` bytes of a file, which is its own to close. What cannot be read counts as another. */
export function createComparison(file: SpoolFile, length: number): Comparison {
  const window = Buffer.allocUnsafeSlow(windowBytes);
  let position = 0;

  /** How many bytes are the same, of at most a window. */
  async function same(bytes: Uint8Array): Promise<number> {
    const count = await file.read(window.subarray(0, bytes.byteLength), position).catch(() => 0);
    if (window.compare(bytes, 0, count, 0, count) === 0) return count;
    return bytes.findIndex((byte, at) => at >= count || byte !== window[at]);
  }

  return {
    async take(chunk) {
      let rest = chunk.subarray(0, length - position);
      const isLonger = rest.byteLength < chunk.byteLength;
      while (rest.byteLength > 0) {
        const compared = rest.subarray(0, windowBytes);
        const count = await same(compared);
        position += count;
        if (count < compared.byteLength) return position;
        rest = rest.subarray(count);
      }
      return isLonger ? position : undefined;
    },
    close: () => file.close(),
  };
}
