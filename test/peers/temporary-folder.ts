import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A new folder of our own. Its name is short: it holds Unix sockets, whose paths end at 108 bytes. */
export function makeTemporaryFolder(name: string): string {
  return mkdtempSync(join(tmpdir(), `pc-${name}-`));
}

/** Removes a folder and all in it; gone already is fine. */
export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
