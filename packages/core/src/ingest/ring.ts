import { joined } from './packed.ts';

/** The latest chunks of a transfer, at hand for readers in step with it. */
export interface Ring {
  /** Appends a chunk at the position where the last one ended. */
  push(chunk: Uint8Array): void;
  /** What is at hand from `position` on, up to the end of its chunk. */
  at(position: number): Uint8Array | undefined;
  /** Lets go of what lies before `position`, but for the last `keepBytes` before the end, in at most 4096 chunks. */
  trim(position: number, keepBytes: number): void;
  /** Empties it; the next chunk is at position 0 again. */
  reset(): void;
}

// An upstream may send single bytes; each chunk takes some memory of its own.
const mostChunks = 4096;

export function createRing(): Ring {
  const chunks: { start: number; bytes: Uint8Array }[] = [];
  let end = 0;

  /** The last chunk that starts at `position` or before. Upstreams may send tiny ones, so that there are many. */
  function before(position: number): number {
    let low = 0;
    let high = chunks.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if ((chunks[middle]?.start ?? 0) <= position) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }

  return {
    push(bytes) {
      if (bytes.byteLength === 0) return;
      const last = chunks.at(-1);
      const both = joined(last?.bytes, bytes);
      if (last && both) last.bytes = both;
      else chunks.push({ start: end, bytes });
      end += bytes.byteLength;
    },
    at(position) {
      // Readers in step ask for the last chunk: nothing needs to be searched then.
      const last = chunks.at(-1);
      const chunk = last && last.start <= position ? last : chunks[before(position)];
      if (!chunk) return undefined;
      const offset = position - chunk.start;
      return offset < chunk.bytes.byteLength ? chunk.bytes.subarray(offset) : undefined;
    },
    trim(position, keepBytes) {
      let gone = 0;
      for (const chunk of chunks) {
        const chunkEnd = chunk.start + chunk.bytes.byteLength;
        const isKept = chunkEnd > end - keepBytes && chunks.length - gone <= mostChunks;
        if (chunkEnd > position || isKept) break;
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
