import { readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isDead, ownerName, parseOwner, thisOwner } from '../runtime/process-owner.ts';
import { isWaitingFolder } from '../store/waiting-folder.ts';

/**
 * Removes the transfers of dead owners.
 *
 * @param now ms since the epoch
 * @throws what the system says
 */
export function sweepSpool(directory: string, now: number): void {
  const self = ownerName(thisOwner());
  for (const name of readdirSync(directory)) {
    const owner = parseOwner(name);
    if (!owner || name === self) continue;
    try {
      const folder = join(directory, name);
      if (isDead(owner, statSync(folder).mtimeMs, now)) sweepOwner(folder);
    } catch (error) {
      // Another process that starts sweeps it too.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
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
