import { mkdirSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { isDead, ownerName, parseOwner, thisOwner } from './owner.ts';
import { createSpoolFile, type SpoolFile } from './spool-file.ts';

/** This process's folder for transfers under way. */
export interface Spool {
  create(): Promise<SpoolFile>;
  /** Whether `bytes` more leave the disk with at least `minFree` bytes. */
  hasRoom(bytes: number): Promise<boolean>;
  /** Removes the folder. */
  close(): void;
}

/** Where the spool is, and how many bytes of its disk stay free. */
export interface SpoolOptions {
  directory: string;
  /** Default: 5 % of the disk, at most 1 GiB. */
  minFree?: number | undefined;
  clock: Clock;
}

// Folders are told dead from silent by their mtime where their owner cannot be looked up.
const heartbeatMs = 60_000;

/**
 * Opens the spool and removes what dead owners left in it, before it returns: nothing of an earlier crash outlives the
 * start.
 *
 * @throws ProxyCacheError `storage-failed` where the folder cannot be made or read
 */
export function openSpool({ directory, minFree, clock }: SpoolOptions): Spool {
  const folder = join(directory, ownerName(thisOwner()));
  try {
    mkdirSync(directory, { recursive: true });
    for (const name of readdirSync(directory)) {
      const owner = parseOwner(name);
      if (owner && name !== ownerName(thisOwner()) && isDead(owner, join(directory, name), clock.now())) {
        rmSync(join(directory, name), { recursive: true, force: true });
      }
    }
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new ProxyCacheError(
      'storage-failed',
      `cannot use the spool folder ${directory}: ${(cause as Error).message}; it must be writable`,
      { cause },
    );
  }

  let made = 0;
  let stopHeartbeat = (): void => undefined;
  const beat = () => {
    try {
      const now = clock.now() / 1000;
      utimesSync(folder, now, now);
    } catch {
      // Without a heartbeat the worst is that another host sweeps this folder while its files are open here.
    }
    stopHeartbeat = clock.after(heartbeatMs, beat);
  };
  beat();

  return {
    create: () => createSpoolFile(join(folder, `${process.hrtime.bigint()}-${made++}`)),
    async hasRoom(bytes) {
      const disk = await statfs(directory);
      const free = disk.bavail * disk.bsize;
      return free - bytes >= (minFree ?? Math.min(0.05 * disk.blocks * disk.bsize, 1024 ** 3));
    },
    close() {
      stopHeartbeat();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
