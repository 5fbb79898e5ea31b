import fs from 'node:fs';
import { dirname } from 'node:path';
import { syncNow, systemCode } from './file-system.ts';

/**
 * Makes a folder and those above it where they are missing, for this user alone (0700). One that is there stays as it is.
 *
 * @param options.durable whether what is made is to survive a loss of power. Default false
 * @throws what the system says
 */
export function makeFolder(path: string, options: { durable?: boolean } = {}): void {
  if (isFolder(path)) return;
  const above = dirname(path);
  // Step by step: `recursive` of Node's mkdir never ends where a folder that is there takes none, as /proc.
  if (above !== path) makeFolder(above, options);
  try {
    fs.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process may have made it meanwhile.
    if (isFolder(path)) return;
    if (systemCode(error) !== 'ENOENT') throw error;
    throw new Error(`${above} takes no folders (${systemCode(error)})`, { cause: error });
  }
  if (options.durable) syncNow(above);
}

function isFolder(path: string): boolean {
  return fs.statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
