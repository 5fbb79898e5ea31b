import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../runtime/clock.ts';
import { isDead, ownerName, parseOwner, thisOwner } from '../runtime/process-owner.ts';
import { orRemake, type Remake } from './file-remake.ts';
import { removeFile, writeNew } from './file-system.ts';
import { leftover } from './leftover.ts';

const hourMs = 3_600_000;

/** How long after its last write a file of an unknown owner is left alone. */
const abandonedAfterMs = 24 * hourMs;

/** A folder of files under way; they become visible by a rename into place, so it is on the same file system. */
export interface TempFolder {
  /** A path that no other writer has, in this process or another. */
  path(): string;
  /**
   * A new file that holds the bytes.
   *
   * @param modifiedAt its time, in s since the epoch. Default: the machine's
   * @throws what the system says; nothing is left behind then
   */
  write(bytes: Uint8Array, modifiedAt?: number): Promise<string>;
}

export function createTempFolder(folder: string, options: { durable: boolean; remake: Remake }): TempFolder {
  const { durable, remake } = options;
  // The name says who writes.
  const owner = ownerName(thisOwner());
  const maker = randomBytes(9).toString('base64url');
  let made = 0;
  const path = () => join(folder, `${owner}.${maker}${(made++).toString(36)}`);
  return {
    path,
    async write(bytes, modifiedAt) {
      const file = path();
      try {
        await orRemake(() => writeNew(file, bytes, { mode: 0o600, flush: durable, modifiedAt }), remake);
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
 * written to for a day. What cannot be removed stays.
 *
 * @returns what stays, and why
 */
export function sweepTempFolder(folder: string): string[] {
  const stays: string[] = [];
  // Times of files are the machine's own, whatever clock the storage is given.
  const now = systemClock.now();
  const isLeft = createIsLeft(now);
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(folder, entry.name);
    const touchedAt = () => fs.lstatSync(file, { throwIfNoEntry: false })?.mtimeMs ?? now;
    const owner = entry.name.slice(0, Math.max(entry.name.lastIndexOf('.'), 0));
    try {
      if (isLeft(owner, touchedAt) || touchedAt() < now - abandonedAfterMs) fs.rmSync(file, { force: true });
    } catch (error) {
      stays.push(leftover(file, error));
    }
  }
  return stays;
}

/** Whether an owner's file is a dead one's. One that this host can look up is, once: it may have left thousands. */
function createIsLeft(now: number): (name: string, touchedAt: () => number) => boolean {
  const known = new Map<string, boolean>();
  return (name, touchedAt) => {
    const verdict = known.get(name);
    if (verdict !== undefined) return verdict;
    const owner = parseOwner(name);
    const isSilentDead = owner !== undefined && isDead(owner, Number.NEGATIVE_INFINITY, now);
    if (!isSilentDead || isDead(owner, now, now)) known.set(name, isSilentDead);
    return isSilentDead && isDead(owner, touchedAt(), now);
  };
}
