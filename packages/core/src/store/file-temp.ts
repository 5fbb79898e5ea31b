import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../runtime/clock.ts';
import { removeFile, systemCode, writeNew } from './file-system.ts';

const hourMs = 3_600_000;

/** How long after its last write a file of an unknown owner is left alone. */
const abandonedAfterMs = 24 * hourMs;

/** A folder of files under way; they become visible by a rename into place, so it is on the same file system. */
export interface TempFolder {
  /** A path that no other writer has, in this process or another. */
  path(): string;
  /** A new file that holds the bytes. @throws what the system says; nothing is left behind then */
  write(bytes: Uint8Array): Promise<string>;
}

// The name says who writes: the host is encoded, because the dots part the fields.
const ownName = () => `${encodeURIComponent(hostname()).replaceAll('.', '%2E')}.${process.pid}`;

export function createTempFolder(folder: string, options: { durable: boolean }): TempFolder {
  const owner = ownName();
  const path = () => join(folder, `${owner}.${randomBytes(9).toString('base64url')}`);
  return {
    path,
    async write(bytes) {
      const file = path();
      try {
        await writeNew(file, bytes, { flag: 'wx', mode: 0o644, flush: options.durable });
      } catch (error) {
        await removeFile(file).catch(() => undefined);
        throw error;
      }
      return file;
    },
  };
}

/**
 * Removes what writers that died have left. Files of other hosts and of processes that live are kept until nobody has
 * written to them for a day: hosts that share the folder must have different names.
 */
export function sweepTempFolder(folder: string): void {
  const [ownHost] = ownName().split('.');
  // Times of files and of the process are the machine's own, whatever clock the storage is given.
  const now = systemClock.now();
  const startedAt = now - process.uptime() * 1000;
  for (const name of fs.readdirSync(folder)) {
    const file = join(folder, name);
    const [host, pid] = name.split('.');
    const stats = fs.lstatSync(file, { throwIfNoEntry: false });
    if (!stats?.isFile()) continue;
    const writtenAt = stats.mtimeMs;
    // In a container the process before us had our own pid: what is older than we are was its.
    const dead =
      host === ownHost && (Number(pid) === process.pid ? writtenAt < startedAt - 1000 : !isAlive(Number(pid)));
    if (dead || writtenAt < now - abandonedAfterMs) fs.rmSync(file, { force: true });
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) !== 'ESRCH';
  }
}
