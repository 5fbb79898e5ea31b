import { type Clock, systemClock } from './clock.ts';
import type { Pace } from './pace.ts';
import { createReadTurns, type ReadTurns } from './read-turns.ts';

/** Memory for reading files, shared by all streams. */
export interface Buffers {
  /**
   * A buffer to read into. Never waits: past the budget it is a small one. Give it back when done.
   *
   * @param pace of the reader. Default: one that is served before all others, and needs no large buffer
   * @param length no more than that is read into it. Default: nobody knows
   */
  take(pace?: Pace, length?: number): Uint8Array;
  /** Takes a buffer back; nobody may look at it from now on. */
  give(buffer: Uint8Array): void;
  /** Counts a buffer out that somebody may still write to: it is never handed out again. */
  drop(buffer: Uint8Array): void;
  /** Whether a reader of that pace may take a second buffer, to read ahead. */
  hasRoom(pace: Pace): boolean;
  /** For reads into them: a buffer is taken when it is filled, not before. */
  readonly turns: ReadTurns;
  /** To tell the pace of a reader by. */
  readonly clock: Pick<Clock, 'monotonic'>;
}

/** All of a cache's. */
export interface BufferPool extends Buffers {
  /** From now on what is given back is never handed out again: who is cut off may not have done with it. */
  close(): void;
}

const smallBytes = 16 * 1024;
/** Small ones that wait at most, as they are beyond the budget. */
const mostSmall = 64;
const partBytes = 64 * 1024;
const pooledBytes = 256 * 1024;
const largeBytes = 1024 * 1024;

/**
 * For readers of a pace: which part of the budget may be lent out in large buffers, and up to which part of it they are
 * lent whole ones of 256 KiB, and quarters of such.
 */
const shares = {
  quick: { large: 1 / 2, whole: 1, quarter: 1 },
  new: { large: 1 / 4, whole: 7 / 8, quarter: 7 / 8 },
  slow: { large: 0, whole: 5 / 8, quarter: 3 / 4 },
};
/** Up to which part of the budget readers read ahead. More than slow ones take together: they slow no quick one down. */
const aheadShares = { quick: 7 / 8, new: 1 / 2, slow: 0 };
const firstServed: Shares = { large: 0, whole: 1, quarter: 1 };
type Shares = (typeof shares)[Pace];

/**
 * How often memory is let go that lay idle all that time, as after a crowd. Not sooner: to make buffers anew for each
 * reader costs more than reading, since V8 collects all of its garbage for so much of it.
 */
const trimEveryMs = 10_000;

/** Buffers of one size that wait to be lent, and the least that did since the last trim. */
interface Idle {
  buffers: Uint8Array[];
  least: number;
}

/**
 * A pool of buffers. A reader that is blocked by a slow client keeps its buffer, so waiting for one would let slow
 * clients starve fast ones: past `maxBytes` readers get 16 KiB each instead, slower but independent. The last quarter is
 * not for slow readers, and the very last for those only that proved quick: no crowd pushes them down to the small.
 */
export function createBuffers(maxBytes: number, clock: Pick<Clock, 'monotonic' | 'after'> = systemClock): BufferPool {
  const idle = new Map<number, Idle>(
    [largeBytes, pooledBytes, partBytes, smallBytes].map((size) => [size, { buffers: [], least: 0 }]),
  );
  /** Both without the small ones, which are beyond the budget. */
  let idleBytes = 0;
  let lentBytes = 0;
  let largeLentBytes = 0;
  let trimmedAt = clock.monotonic();
  let isClosed = false;

  function countLent(size: number, sign: 1 | -1): void {
    if (size !== smallBytes) lentBytes += sign * size;
    if (size === largeBytes) largeLentBytes += sign * size;
  }

  function countIdle(size: number, sign: 1 | -1): void {
    if (size !== smallBytes) idleBytes += sign * size;
  }

  function pop(kept: Idle): Uint8Array | undefined {
    const buffer = kept.buffers.pop();
    if (buffer) countIdle(buffer.byteLength, -1);
    kept.least = Math.min(kept.least, kept.buffers.length);
    return buffer;
  }

  /** An idle buffer: of that size, or, where the budget has no room for another, of the next smaller one there is. */
  function popUpTo(size: number): Uint8Array | undefined {
    for (const [held, kept] of idle) {
      const isWanted = held === size || (held < size && held !== smallBytes && isOver(size));
      const buffer = isWanted ? pop(kept) : undefined;
      if (buffer) return buffer;
    }
    return undefined;
  }

  const isOver = (more: number) => more !== smallBytes && lentBytes + idleBytes + more > maxBytes;

  function lend(size: number): Uint8Array {
    const buffer = popUpTo(size) ?? make(size);
    countLent(buffer.byteLength, 1);
    return buffer;
  }

  /** What lies idle in larger ones makes room. */
  function make(size: number): Uint8Array {
    for (const kept of idle.values()) while (isOver(size) && pop(kept));
    return Buffer.allocUnsafeSlow(size);
  }

  /** Lets go of what nobody needed lately. */
  function trim(): void {
    const now = clock.monotonic();
    if (now - trimmedAt < trimEveryMs) return;
    trimmedAt = now;
    for (const kept of idle.values()) {
      for (let left = kept.least; left > 0; left--) pop(kept);
      kept.least = kept.buffers.length;
    }
  }

  function sizeFor({ large, whole, quarter }: Shares, length: number): number {
    const fits = (size: number, share: number) => lentBytes + size <= share * maxBytes;
    if (length > pooledBytes && largeLentBytes + largeBytes <= large * maxBytes && fits(largeBytes, whole)) {
      return largeBytes;
    }
    if (fits(pooledBytes, whole)) return pooledBytes;
    return fits(partBytes, quarter) ? partBytes : smallBytes;
  }

  return {
    clock,
    turns: createReadTurns(clock),
    take: (pace, length = Number.POSITIVE_INFINITY) => lend(sizeFor(pace ? shares[pace] : firstServed, length)),
    give(buffer) {
      const size = buffer.byteLength;
      const kept = idle.get(size);
      if (!kept) return;
      countLent(size, -1);
      if (isClosed || (size === smallBytes && kept.buffers.length >= mostSmall)) return;
      kept.buffers.push(buffer);
      countIdle(size, 1);
      trim();
    },
    drop(buffer) {
      if (idle.has(buffer.byteLength)) countLent(buffer.byteLength, -1);
    },
    close() {
      isClosed = true;
    },
    hasRoom: (pace) => lentBytes < aheadShares[pace] * maxBytes,
  };
}
