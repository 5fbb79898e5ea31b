import { type Clock, systemClock } from './clock.ts';

/** Whether whoever a reader reads for takes bytes as fast as a disk gives them, or lets each buffer wait. */
export type Pace = 'quick' | 'slow';

/** Memory for reading files, shared by all streams. */
export interface Buffers {
  /**
   * A buffer to read into. Never waits: past the budget it is a small one of its own. Give it back when done.
   *
   * @param pace a quick reader gets a larger one, a slow one leaves some of the budget to others. Default: neither
   * @param length no more than that is read into it. Default: nobody knows
   */
  take(pace?: Pace, length?: number): Uint8Array;
  /** Takes a buffer back; nobody may look at it from now on. */
  give(buffer: Uint8Array): void;
  /** Counts a buffer out that somebody may still write to: it is never handed out again. */
  drop(buffer: Uint8Array): void;
  /** To tell the pace of a reader by. */
  readonly clock: Pick<Clock, 'monotonic'>;
}

const largeBytes = 1024 * 1024;
const pooledBytes = 256 * 1024;
const smallBytes = 16 * 1024;

/** As much as sixteen quick readers use: what more came together for a crowd goes when the crowd is gone. */
const keptBytes = 16 * largeBytes;

/**
 * A pool of buffers of 256 KiB, and of 1 MiB for quick readers. A reader that is blocked by a slow client keeps its
 * buffer, so waiting for one would let slow clients starve fast ones: past `maxBytes` readers get 16 KiB each instead,
 * slower but independent. The last quarter of it is not for slow readers, and half of it at most is in large buffers, so
 * that neither many slow readers nor a few quick ones push the others down to the small.
 */
export function createBuffers(maxBytes: number, clock: Pick<Clock, 'monotonic'> = systemClock): Buffers {
  const idle = new Map<number, Uint8Array[]>([
    [largeBytes, []],
    [pooledBytes, []],
  ]);
  const lent = new Map<number, number>();
  const total = { lent: 0, idle: 0 };

  function count(size: number, change: 1 | -1): void {
    lent.set(size, (lent.get(size) ?? 0) + change);
    total.lent += change * size;
  }

  /** Lets idle buffers go until they have `most` bytes. */
  function trim(most: number): void {
    for (const kept of idle.values()) {
      while (total.idle > most) {
        const buffer = kept.pop();
        if (!buffer) break;
        total.idle -= buffer.byteLength;
      }
    }
  }

  /** `most`: how many bytes may be lent then. */
  function lend(size: number, most: number): Uint8Array | undefined {
    if (total.lent + size > most) return undefined;
    count(size, 1);
    const kept = idle.get(size)?.pop();
    if (kept) total.idle -= size;
    // What lies idle in the other size makes room.
    trim(maxBytes - total.lent);
    return kept ?? Buffer.allocUnsafeSlow(size);
  }

  function lendLarge(): Uint8Array | undefined {
    const large = (lent.get(largeBytes) ?? 0) * largeBytes;
    return large + largeBytes > maxBytes / 2 ? undefined : lend(largeBytes, maxBytes);
  }

  return {
    clock,
    take(pace, length = Number.POSITIVE_INFINITY) {
      const large = pace === 'quick' && length > pooledBytes ? lendLarge() : undefined;
      const most = pace === 'slow' ? 0.75 * maxBytes : maxBytes;
      return large ?? lend(pooledBytes, most) ?? Buffer.allocUnsafeSlow(smallBytes);
    },
    give(buffer) {
      const size = buffer.byteLength;
      const kept = idle.get(size);
      if (!kept) return;
      count(size, -1);
      kept.push(buffer);
      total.idle += size;
      trim(Math.max(total.lent, keptBytes));
    },
    drop(buffer) {
      if (idle.has(buffer.byteLength)) count(buffer.byteLength, -1);
    },
  };
}
