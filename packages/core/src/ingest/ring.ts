/** The latest chunks of a transfer, at hand for readers in step with it. */
export interface Ring {
  /** Appends a chunk at the position where the last one ended. */
  push(chunk: Uint8Array): void;
  /** What is at hand from `position` on, up to the end of its chunk. */
  at(position: number): Uint8Array | undefined;
  /** Lets go of what lies before `position`, but for the last `keepBytes` before the end. */
  trim(position: number, keepBytes: number): void;
  /** Empties it; the next chunk is at position 0 again. */
  reset(): void;
}

export function createRing(): Ring {
  const chunks: { start: number; bytes: Uint8Array }[] = [];
  let end = 0;
  return {
    push(bytes) {
      if (bytes.byteLength === 0) return;
      chunks.push({ start: end, bytes });
      end += bytes.byteLength;
    },
    at(position) {
      // Readers in step ask for the last chunk or the one before: from the end, the first look is nearly always right.
      for (let i = chunks.length - 1; i >= 0; i--) {
        const chunk = chunks[i];
        if (!chunk || chunk.start > position) continue;
        const offset = position - chunk.start;
        return offset < chunk.bytes.byteLength ? chunk.bytes.subarray(offset) : undefined;
      }
      return undefined;
    },
    trim(position, keepBytes) {
      const limit = Math.min(position, end - keepBytes);
      let gone = 0;
      for (const chunk of chunks) {
        if (chunk.start + chunk.bytes.byteLength > limit) break;
        gone++;
      }
      if (gone > 0) chunks.splice(0, gone);
    },
    reset() {
      chunks.length = 0;
      end = 0;
    },
  };
}
