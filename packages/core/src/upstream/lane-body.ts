import type { Slabs } from '../runtime/slabs.ts';

/** Gathers a body of known length from small reads, so that whoever writes and hashes it does so in large pieces. */
export interface LaneBody {
  /** Bytes still to come. */
  left(): number;
  /** Where the next bytes go. */
  room(): Uint8Array;
  /** Bytes came into the memory that `room` gave last: those beyond the body's end are left out. */
  took(length: number): void;
  /** Passes on what is here: nothing more comes into its memory. */
  end(): void;
  /** Gives its memory back: nothing comes into it any more, and nobody waits for what is in it. */
  close(): void;
}

/** How a body's bytes go on. */
export interface LaneBodyParts {
  slabs: Slabs | undefined;
  /** Gets each piece, with its memory where it came from `slabs`. */
  push(piece: Uint8Array): void;
}

// What is worth a write and a hash of its own.
const batch = 256 * 1024;
// A read into less room than this costs more than the room is worth.
const leastRoom = 16 * 1024;
// Less than this gets memory of its own size, as a whole slab would be mostly empty.
const worthSlab = 64 * 1024;

/**
 * Makes the body of an answer of `length` bytes. A piece is passed on when it is large enough, or when the socket brought
 * nothing for a turn of the event loop: nobody waits for bytes that are here. Such a small piece is copied, because its slab
 * is where the socket's next bytes go.
 */
export function createLaneBody(length: number, { slabs, push }: LaneBodyParts): LaneBody {
  let left = length;
  let memory: Uint8Array | undefined;
  let start = 0;
  let filled = 0;
  let isWatched = false;

  function takeMemory(): Uint8Array {
    if (left <= worthSlab) return Buffer.allocUnsafeSlow(left);
    return slabs?.take() ?? Buffer.allocUnsafeSlow(Math.min(left, batch));
  }

  /** Passes its memory on with what is in it. Not while a socket may still read into it. */
  function seal(): void {
    const full = memory;
    if (!full) return;
    memory = undefined;
    if (filled > start) push(full.subarray(start, filled));
    else slabs?.give(full);
  }

  /** Passes on what waits once a whole turn of the event loop brought nothing more. */
  function watch(): void {
    if (isWatched) return;
    isWatched = true;
    // The first turn is the one that brought it.
    let seen = -1;
    const look = () => {
      if (!memory || filled === start) isWatched = false;
      else if (seen !== left) {
        seen = left;
        setImmediate(look);
      } else {
        isWatched = false;
        const piece = Buffer.from(memory.subarray(start, filled));
        start = filled;
        push(piece);
      }
    };
    setImmediate(look);
  }

  return {
    left: () => left,
    room() {
      if (!memory) {
        memory = takeMemory();
        start = 0;
        filled = 0;
      }
      return memory.subarray(filled);
    },
    took(count) {
      const own = Math.min(count, left);
      filled += own;
      left -= own;
      const room = (memory?.byteLength ?? 0) - filled;
      if (left === 0 || room < leastRoom || filled - start >= batch) seal();
      else watch();
    },
    end: seal,
    close() {
      start = filled;
      seal();
    },
  };
}
