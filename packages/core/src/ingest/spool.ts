import { mkdtempSync, rmdirSync, rmSync, type StatsFs, statfsSync } from 'node:fs';
import { mkdir, statfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { ownerName, thisOwner } from '../runtime/process-owner.ts';
import { makeFolder } from '../store/make-folder.ts';
import { createStoreDeadline } from '../store/store-deadline.ts';
import { createDiskClaims } from './disk-claims.ts';
import { createSpoolFile, type SpoolFile } from './spool-file.ts';
import { sweepSpool } from './sweep-spool.ts';

/** A folder of this process for transfers under way. */
export interface Spool {
  /**
   * Whether there would be a file that may grow to `bytes` bytes, as far as is known without asking the disk. It may turn
   * out otherwise.
   */
  seemsReady(bytes: number): boolean;
  /**
   * A new, empty file. Whatever is done with it takes no longer than a disk may that answers at all.
   *
   * @throws ProxyCacheError `storage-failed`, also for a while after a file could not be written to
   */
  create(signal?: AbortSignal): Promise<SpoolFile>;
  /**
   * Sees to it that a file may grow to `bytes` bytes; what files may still grow by counts as taken.
   *
   * @throws ProxyCacheError `storage-full` where the disk would have less than `minFree` left, `storage-failed`
   */
  claim(file: SpoolFile, bytes: number, signal?: AbortSignal): Promise<void>;
  /** Tells that a file grows no more, though somebody may read it for long: what it claimed is there for others. */
  release(file: SpoolFile): void;
  /** Bytes that may still be written to its disk, as far as is known: less than none where it has too little left. */
  room(): number;
  /** Removes the folder, where it can. */
  close(): void;
}

/** Where the spool is, and how many bytes of its disk stay free. */
export interface SpoolOptions {
  directory: string;
  /** Default: 5 % of the disk, at most 1 GiB. */
  minFree?: number | undefined;
  clock: Clock;
  /** What a call of the disk is timed by. Default: the machine's clock, as a disk takes its time whatever `clock` says. */
  diskClock?: Clock;
}

// Folders are told dead from silent by their mtime where their owner cannot be looked up.
const heartbeatMs = 60_000;

/** How long a disk may take that answers at all, as for stores; and to write what may wait for it, at 1 MiB/s. */
const withinMs = 3_000;
const writeWithinMs = 10_000;

/** For so long a look at the disk counts: what others write meanwhile is little beside `minFree`. */
const looksForMs = 100;

/** A disk that refuses bytes (a quota, an error) would break each transfer half-way: pulls pass through instead. */
const restMs = 30_000;

/**
 * Opens the spool and removes what dead owners left in it, before it returns: nothing of an earlier crash outlives the
 * start.
 *
 * @throws ProxyCacheError `storage-failed` where the folder cannot be made or read
 */
export function openSpool({ directory, minFree, clock, diskClock = systemClock }: SpoolOptions): Spool {
  const owned = join(directory, ownerName(thisOwner()));
  let folder: string;
  try {
    makeFolder(directory);
    sweepSpool(directory, clock.now());
    makeFolder(owned);
    // Of its own: another cache of this process may use the same storage.
    folder = mkdtempSync(join(owned, 'cache-'));
  } catch (cause) {
    throw failed(`cannot use the spool folder ${directory}, which must be writable`, cause);
  }

  let made = 0;
  let restsUntil = Number.NEGATIVE_INFINITY;
  const deadline = createStoreDeadline(diskClock, withinMs);
  const claims = createDiskClaims();
  let disk = diskOf(folder);
  let lookedAt = Number.NEGATIVE_INFINITY;
  let looking = 0;
  const stopHeartbeat = heartbeat(owned, clock, () => {
    // One that hangs keeps one of the process's few threads, whoever waits for it.
    if (looking === 0) void look().catch(() => undefined);
  });

  async function open(): Promise<SpoolFile> {
    const file = await createSpoolFile(join(folder, String(made++)), {
      failed() {
        restsUntil = clock.monotonic() + restMs;
      },
      closed: () => claims.end(file),
      within: (operation, work) =>
        deadline.run(
          { operation: `spool ${operation}`, withinMs: operation === 'write' ? writeWithinMs : withinMs, rests: false },
          work,
        ),
    });
    return file;
  }

  async function openAgain(): Promise<SpoolFile> {
    try {
      return await open();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      // Cleaners of temporary folders take what is empty.
      await mkdir(folder, { recursive: true, mode: 0o700 });
      return await open();
    }
  }

  /** What is free beside what files may still grow by and `minFree`, as the last look at the disk told. */
  function spare(): number {
    if (!disk) return Number.NEGATIVE_INFINITY;
    const { bavail, bsize, blocks } = disk;
    return bavail * bsize - claims.taken() - (minFree ?? Math.min(0.05 * blocks * bsize, 1024 ** 3));
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
      disk = await deadline.run({ operation: 'spool claim', ...(signal && { signal }) }, askDisk);
      told();
    } catch (cause) {
      signal?.throwIfAborted();
      disk = undefined;
      throw failed('cannot look at the disk of the spool', cause);
    }
  }

  return {
    seemsReady: (bytes) => clock.monotonic() >= restsUntil && spare() >= bytes,
    room: spare,
    async create(signal) {
      if (clock.monotonic() < restsUntil) throw failed('the spool could not be written to lately');
      try {
        return await deadline.run({ operation: 'spool create', ...(signal && { signal }), late: letGo }, openAgain);
      } catch (cause) {
        signal?.throwIfAborted();
        // What is known of the disk does not tell whether it takes files.
        disk = undefined;
        throw failed('cannot create a spool file', cause);
      }
    },
    async claim(file, bytes, signal) {
      claims.set(file, bytes);
      if (diskClock.monotonic() - lookedAt < looksForMs && spare() >= 0) return;
      await look(signal);
      lookedAt = diskClock.monotonic();
      if (spare() >= 0) return;
      claims.drop(file);
      throw new ProxyCacheError('storage-full', 'the disk has less than minFree left; free some or lower minFree');
    },
    release: claims.end,
    close() {
      stopHeartbeat();
      try {
        rmSync(folder, { recursive: true, force: true });
        rmdirSync(owned);
      } catch {
        // Another cache of this process uses it, or it cannot be written to: then the next start removes it.
      }
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

/** Nobody waits any more for what was opened. */
function letGo(file: SpoolFile): void {
  void Promise.allSettled([file.remove(), file.close()]);
}

/** @param look keeps what is known of the disk up to date while nothing is pulled */
function heartbeat(folder: string, clock: Clock, look: () => void): () => void {
  let stop = (): void => undefined;
  let isTouching = false;
  let isDue = false;
  async function touch(): Promise<void> {
    isDue = true;
    if (isTouching) return;
    isTouching = true;
    while (isDue) {
      isDue = false;
      const now = clock.now() / 1000;
      // Without a heartbeat the worst is that another host sweeps this folder while its files are open here.
      await utimes(folder, now, now).catch(() => undefined);
    }
    isTouching = false;
  }
  const beat = () => {
    void touch();
    stop = clock.after(heartbeatMs, () => {
      look();
      beat();
    });
  };
  beat();
  return () => stop();
}

function failed(what: string, cause?: unknown): ProxyCacheError {
  const why = cause === undefined ? '' : `: ${(cause as Error).message}`;
  return new ProxyCacheError('storage-failed', `${what}${why}`, { cause });
}
