import type { SharedBytes } from './shared-bytes.ts';

/**
 * Enough for readers in step with the transfer; those further behind read the file. Many take turns, each of which lasts
 * for as long as all of them together, and the transfer has its own among theirs: who misses a few is still in step then.
 */
const leastRing = 2 * 1024 * 1024;
const mostRing = 4 * 1024 * 1024;
const ringOfReader = 256 * 1024;

/** How many bytes a transfer with so many readers keeps for them. */
export function ringBytesFor(readers: number): number {
  return Math.min(Math.max(readers * ringOfReader, leastRing), mostRing);
}

/**
 * What a reader gets at once, of so many: many sockets have no room for much, and what is left over of a write waits for
 * its own turn.
 */
export function mostForEach(readers: number): number {
  return readers > 2 ? 512 * 1024 : 1024 * 1024;
}

/** The latest bytes of a transfer, at hand for readers in step with it: held, not copied. */
export interface Ring {
  /** Appends a piece at the position where the last one ended. */
  push(piece: SharedBytes): void;
  /** What is at hand from `position` on, up to the end of its memory, or `most` bytes of it. */
  at(position: number, most?: number): SharedBytes | undefined;
  /** Lets go of what lies before `position`, but for the last `keepBytes` before the end. */
  trim(position: number, keepBytes: number): void;
  /** Empties it; the next piece is at position 0 again. */
  reset(): void;
}

export function createRing(): Ring {
  const pieces: (SharedBytes & { start: number })[] = [];
  let end = 0;

  /** The last piece that starts at `position` or before. */
  function before(position: number): number {
    let low = 0;
    let high = pieces.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if ((pieces[middle]?.start ?? 0) <= position) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }

  return {
    push({ bytes, memory }) {
      if (bytes.byteLength === 0) return;
      const last = pieces.at(-1);
      const both = last?.memory === memory ? joined(last.bytes, bytes) : undefined;
      if (last && both) pieces[pieces.length - 1] = { start: last.start, bytes: both, memory };
      else {
        memory.hold();
        pieces.push({ start: end, bytes, memory });
      }
      end += bytes.byteLength;
    },
    at(position, most = Number.POSITIVE_INFINITY) {
      // Readers in step ask for the last piece: nothing needs to be searched then.
      const last = pieces.at(-1);
      const piece = last && last.start <= position ? last : pieces[before(position)];
      if (!piece) return undefined;
      const offset = position - piece.start;
      if (offset >= piece.bytes.byteLength) return undefined;
      return { bytes: piece.bytes.subarray(offset, offset + most), memory: piece.memory };
    },
    trim(position, keepBytes) {
      const until = Math.min(position, end - keepBytes);
      let gone = 0;
      for (const { start, bytes, memory } of pieces) {
        if (start + bytes.byteLength > until) break;
        memory.letGo();
        gone++;
      }
      if (gone > 0) pieces.splice(0, gone);
    },
    reset() {
      for (const { memory } of pieces) memory.letGo();
      pieces.length = 0;
      end = 0;
    },
  };
}

/** The two as one, where the second follows the first in the same memory. */
function joined(first: Uint8Array, second: Uint8Array): Uint8Array | undefined {
  if (first.buffer !== second.buffer || first.byteOffset + first.byteLength !== second.byteOffset) return undefined;
  return Buffer.from(first.buffer, first.byteOffset, first.byteLength + second.byteLength);
}
