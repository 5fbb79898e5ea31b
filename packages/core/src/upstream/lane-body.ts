import { type Clock, systemClock } from '../runtime/clock.ts';
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
  /** How large its pieces are. Default `'batches'`. */
  pieces?: PieceSize | undefined;
  /** Gets each piece, with its memory where it came from `slabs`. */
  push(piece: Uint8Array): void;
  /** Default: the machine's, as a server takes its time whatever clock the cache was given. */
  clock?: Clock;
}

/** `batches`: what is worth a write and a hash. `slabs`: as large as they get, for where it costs to hand one on. */
export type PieceSize = 'batches' | 'slabs';

// Half a slab: for less it is not given away.
const batch = 256 * 1024;
// How long a batch waits to become a slab, in ms.
const slabMs = 5;
// How long less than a batch waits for more, in ms; the first bytes wait for nothing. At 26 MB/s it is a batch by then.
const gatherMs = 10;
// A read into less room than this costs more than the room is worth.
const leastRoom = 16 * 1024;
// Less than this gets memory of its own size, as a whole slab would be mostly empty.
const worthSlab = 64 * 1024;

/**
 * Makes the body of an answer of `length` bytes. A piece is passed on when it is large enough, or when its first byte has
 * waited for a moment: a network brings a few packets at a time, and each piece costs the same, however small it is.
 */
export function createLaneBody(
  length: number,
  { slabs, pieces = 'batches', push, clock = systemClock }: LaneBodyParts,
): LaneBody {
  let left = length;
  let memory: Uint8Array | undefined;
  let start = 0;
  let filled = 0;
  // Whether the last read filled all the room it had: then there is more where that came from.
  let isFull = false;
  let passedAt = Number.NEGATIVE_INFINITY;
  let cancelWait: (() => void) | undefined;

  function takeMemory(): Uint8Array {
    if (left <= worthSlab) return Buffer.allocUnsafeSlow(left);
    return slabs?.take(isFull ? left : 0) ?? Buffer.allocUnsafeSlow(Math.min(left, batch));
  }

  /** Passes its memory on with what is in it. Not while a socket may still read into it. */
  function seal(): void {
    stopWaiting();
    const full = memory;
    if (!full) return;
    memory = undefined;
    if (filled > start) pass(full.subarray(start, filled));
    else slabs?.give(full);
  }

  function pass(piece: Uint8Array): void {
    passedAt = clock.monotonic();
    push(piece);
  }

  function isEnough(): boolean {
    if (filled - start < batch) return false;
    return pieces === 'batches' || clock.monotonic() - passedAt >= slabMs;
  }

  /** Somebody waits for the first byte: on a busy host even a turn of the event loop is long. */
  const isFirst = () => passedAt === Number.NEGATIVE_INFINITY;

  /** Passes on what has waited for long enough, as a copy: the socket has its slab to read into. */
  function due(): void {
    cancelWait = undefined;
    if (!memory || filled === start) return;
    const piece = Buffer.from(memory.subarray(start, filled));
    start = filled;
    pass(piece);
  }

  function wait(): () => void {
    const ms = passedAt + gatherMs - clock.monotonic();
    if (ms > 0) return clock.after(ms, due);
    // A turn, as what is here already is read first.
    const immediate = setImmediate(due);
    return () => clearImmediate(immediate);
  }

  function stopWaiting(): void {
    cancelWait?.();
    cancelWait = undefined;
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
      isFull = room === 0;
      if (left === 0 || room < leastRoom || isEnough()) seal();
      else if (isFirst()) due();
      else cancelWait ??= wait();
    },
    end: seal,
    close() {
      start = filled;
      seal();
    },
  };
}
