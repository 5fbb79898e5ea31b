/** Memory for reading files, shared by all streams. */
export interface Buffers {
  /** A buffer to read into. Never waits: past the budget it is a small one of its own. Give it back when done. */
  take(): Uint8Array;
  /** Takes a buffer back; nobody may look at it from now on. */
  give(buffer: Uint8Array): void;
  /** Counts a buffer out that somebody may still write to: it is never handed out again. */
  drop(buffer: Uint8Array): void;
}

const pooledBytes = 256 * 1024;
const smallBytes = 16 * 1024;

/**
 * A pool of 256 KiB buffers. A reader that is blocked by a slow client keeps its buffer, so waiting for one would let
 * slow clients starve fast ones: past `maxBytes` readers get 16 KiB each instead, slower but independent.
 */
export function createBuffers(maxBytes: number): Buffers {
  const idle: Uint8Array[] = [];
  let pooled = 0;
  return {
    take() {
      const buffer = idle.pop();
      if (buffer) return buffer;
      if ((pooled + 1) * pooledBytes > maxBytes) return Buffer.allocUnsafeSlow(smallBytes);
      pooled++;
      return Buffer.allocUnsafeSlow(pooledBytes);
    },
    give(buffer) {
      if (buffer.byteLength === pooledBytes) idle.push(buffer);
    },
    drop(buffer) {
      if (buffer.byteLength === pooledBytes) pooled--;
    },
  };
}
