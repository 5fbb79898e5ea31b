import { readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isDead, ownerName, parseOwner, thisOwner } from '../runtime/process-owner.ts';
import { systemCode } from '../store/file-system.ts';
import { leftover } from '../store/leftover.ts';
import { isWaitingFolder } from '../store/waiting-folder.ts';

/**
 * Removes the transfers of dead owners. What cannot be removed, such as another user's, stays: it is in nobody's way.
 *
 * @param now ms since the epoch
 * @returns what stays, and why
 * @throws what the system says of the directory itself
 */
export function sweepSpool(directory: string, now: number): string[] {
  const stays: string[] = [];
  const self = ownerName(thisOwner());
  for (const name of readdirSync(directory)) {
    const owner = parseOwner(name);
    if (!owner || name === self) continue;
    const folder = join(directory, name);
    try {
      if (isDead(owner, statSync(folder).mtimeMs, now)) sweepOwner(folder);
    } catch (error) {
      // Another process that starts sweeps it too.
      if (systemCode(error) !== 'ENOENT') stays.push(leftover(folder, error));
    }
  }
  return stays;
}

/** What waits for a store stays, for the upload queue. */
function sweepOwner(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (isWaitingFolder(name)) removeEmpty(join(folder, name));
    else rmSync(join(folder, name), { recursive: true, force: true });
  }
  removeEmpty(folder);
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
  }
}
