import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../runtime/clock.ts';
import { isDead, ownerName, parseOwner, thisOwner } from '../runtime/process-owner.ts';
import { removeFile, writeNew } from './file-system.ts';

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

export function createTempFolder(folder: string, options: { durable: boolean }): TempFolder {
  // The name says who writes.
  const owner = ownerName(thisOwner());
  const path = () => join(folder, `${owner}.${randomBytes(9).toString('base64url')}`);
  return {
    path,
    async write(bytes) {
      const file = path();
      try {
        await writeNew(file, bytes, { flag: 'wx', mode: 0o600, flush: options.durable });
      } catch (error) {
        await removeFile(file).catch(() => undefined);
        throw error;
      }
      return file;
    },
  };
}

/**
 * Removes what writers that died have left, by the rule for spool folders ({@link isDead}); and whatever nobody has
 * written to for a day.
 */
export function sweepTempFolder(folder: string): void {
  // Times of files are the machine's own, whatever clock the storage is given.
  const now = systemClock.now();
  for (const name of fs.readdirSync(folder)) {
    const file = join(folder, name);
    const stats = fs.lstatSync(file, { throwIfNoEntry: false });
    if (!stats?.isFile()) continue;
    const owner = parseOwner(name.slice(0, Math.max(name.lastIndexOf('.'), 0)));
    const dead = owner !== undefined && isDead(owner, stats.mtimeMs, now);
    if (dead || stats.mtimeMs < now - abandonedAfterMs) fs.rmSync(file, { force: true });
  }
}
