import { mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { ownerName, thisOwner } from '../runtime/process-owner.ts';
import { createFreeDisk, type FreeDisk } from '../store/free-disk.ts';
import { makeFolder, makeFolderNow } from '../store/make-folder.ts';
import { createStoreDeadline } from '../store/store-deadline.ts';
import { createSpoolFile, type SpoolFile } from './spool-file.ts';
import { sweepSpool } from './sweep-spool.ts';

/** A folder of this process for transfers under way, which keeps `minFree` of its disk free. */
export interface Spool extends Pick<FreeDisk<SpoolFile>, 'claim' | 'lacks' | 'release' | 'room'> {
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
  /** What dead owners left and cannot be removed, and why. */
  readonly leftovers: readonly string[];
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
  /** Called each minute, while it is open. */
  beat?: () => void;
}

// Folders are told dead from silent by their mtime where their owner cannot be looked up.
const heartbeatMs = 60_000;

/** How long a disk may take that answers at all, as for stores; and to write what may wait for it, at 1 MiB/s. */
const withinMs = 3_000;
const writeWithinMs = 10_000;

/** A disk that refuses bytes (a quota, an error) would break each transfer half-way: pulls pass through instead. */
const restMs = 30_000;

/**
 * Opens the spool and removes what dead owners left in it, before it returns: nothing of an earlier crash outlives the
 * start.
 *
 * @throws ProxyCacheError `storage-failed` where the folder cannot be made or read
 */
export function openSpool(options: SpoolOptions): Spool {
  const { directory, minFree, clock, diskClock = systemClock, beat } = options;
  const owned = join(directory, ownerName(thisOwner()));
  let folder: string;
  let leftovers: string[];
  try {
    makeFolderNow(directory);
    leftovers = sweepSpool(directory, clock.now());
    makeFolderNow(owned);
    // Of its own: another cache of this process may use the same storage.
    folder = mkdtempSync(join(owned, 'cache-'));
  } catch (cause) {
    throw failed(`cannot use the spool folder ${directory}, which must be writable`, cause);
  }

  let made = 0;
  let restsUntil = Number.NEGATIVE_INFINITY;
  const deadline = createStoreDeadline(diskClock, withinMs);
  const disk = createFreeDisk<SpoolFile>(folder, {
    name: 'spool',
    minFree,
    presentOf: ({ written, placed }) => written + placed.size,
    diskClock,
    deadline,
  });
  const stopHeartbeat = heartbeat(owned, clock, () => {
    // What is known of the disk stays up to date while nothing is pulled.
    disk.lookBehind();
    beat?.();
  });

  async function open(): Promise<SpoolFile> {
    const file = await createSpoolFile(join(folder, String(made++)), {
      failed() {
        restsUntil = clock.monotonic() + restMs;
      },
      closed: () => disk.release(file),
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
      await makeFolder(folder);
      return await open();
    }
  }

  return {
    seemsReady: (bytes) => clock.monotonic() >= restsUntil && disk.room() >= bytes,
    room: disk.room,
    claim: disk.claim,
    lacks: disk.lacks,
    release: disk.release,
    leftovers,
    async create(signal) {
      if (clock.monotonic() < restsUntil) throw failed('the spool could not be written to lately');
      try {
        return await deadline.run({ operation: 'spool create', ...(signal && { signal }), late: letGo }, openAgain);
      } catch (cause) {
        signal?.throwIfAborted();
        // What is known of the disk does not tell whether it takes files.
        disk.forget();
        throw failed('cannot create a spool file', cause);
      }
    },
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

/** Nobody waits any more for what was opened. */
function letGo(file: SpoolFile): void {
  void Promise.allSettled([file.remove(), file.close()]);
}

function heartbeat(folder: string, clock: Clock, also: () => void): () => void {
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
      also();
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
