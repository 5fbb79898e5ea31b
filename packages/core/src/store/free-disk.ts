import { type StatsFs, statfsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createDiskClaims } from './disk-claims.ts';
import type { StoreDeadline } from './store-deadline.ts';

/** A disk of which `minFree` stays free, and what some claim of it. */
export interface FreeDisk<T> {
  /** Bytes that may still be written to it, as the last look told: less than none where it has too little left. */
  room(): number;
  /**
   * Sees to it that one may grow to `bytes` bytes; what others may still grow by counts as taken.
   *
   * @throws ProxyCacheError `storage-full` where it would have less than `minFree` left, `storage-failed`; the signal's reason
   */
  claim(one: T, bytes: number, signal?: AbortSignal): Promise<void>;
  /** How many bytes too few it has for one of `bytes` bytes that was refused. */
  lacks(one: T, bytes: number): number;
  /** One grows no more: what it claimed is there for others. */
  release(one: T): void;
  /** Looks at it behind, unless that runs: a look that hangs keeps one of the process's few threads, whoever waits for it. */
  lookBehind(): void;
  /** What is known of it does not count until the next look. */
  forget(): void;
}

/** What {@link createFreeDisk} works with. */
export interface FreeDiskParts<T> {
  /** Whose it is: `spool`. */
  name: string;
  /** Default: 5 % of the disk, at most 1 GiB. */
  minFree: number | undefined;
  /** Bytes that one takes of it by now. */
  presentOf(one: T): number;
  /** Bytes that are on their way to it besides. Default: none. */
  coming?: () => number;
  diskClock: Clock;
  deadline: StoreDeadline;
}

/** For so long a look at the disk counts: what others write meanwhile is little beside `minFree`. */
const looksForMs = 100;

/** @param folder some folder on it */
export function createFreeDisk<T>(folder: string, parts: FreeDiskParts<T>): FreeDisk<T> {
  const { name, minFree, presentOf, coming = () => 0, diskClock, deadline } = parts;
  const claims = createDiskClaims(presentOf);
  let disk = diskOf(folder);
  let lookedAt = Number.NEGATIVE_INFINITY;
  let looking = 0;

  function room(): number {
    if (!disk) return Number.NEGATIVE_INFINITY;
    const { bavail, bsize, blocks } = disk;
    return bavail * bsize - claims.taken() - coming() - (minFree ?? Math.min(0.05 * blocks * bsize, 1024 ** 3));
  }

  async function askDisk(): Promise<StatsFs> {
    looking++;
    try {
      return await statfs(folder);
    } finally {
      looking--;
    }
  }

  async function look(signal?: AbortSignal): Promise<void> {
    const told = claims.looking();
    try {
      disk = await deadline.run({ operation: `${name} claim`, ...(signal && { signal }) }, askDisk);
      told();
    } catch (cause) {
      signal?.throwIfAborted();
      disk = undefined;
      const why = (cause as Error).message;
      throw new ProxyCacheError('storage-failed', `cannot look at the disk of the ${name}: ${why}`, { cause });
    }
  }

  return {
    room,
    async claim(one, bytes, signal) {
      claims.set(one, bytes);
      if (diskClock.monotonic() - lookedAt < looksForMs && room() >= 0) return;
      await look(signal);
      lookedAt = diskClock.monotonic();
      if (room() >= 0) return;
      claims.drop(one);
      const what = `the disk of the ${name} has less than minFree left; free some or lower minFree`;
      throw new ProxyCacheError('storage-full', what);
    },
    lacks: (one, bytes) => bytes - presentOf(one) - room(),
    release: claims.end,
    lookBehind() {
      if (looking === 0) void look().catch(() => undefined);
    },
    forget() {
      disk = undefined;
    },
  };
}

function diskOf(folder: string): StatsFs | undefined {
  try {
    return statfsSync(folder);
  } catch {
    // The first claim tells why.
    return undefined;
  }
}
