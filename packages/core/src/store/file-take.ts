import type { Stats } from 'node:fs';
import { linkFile, removeFile, renameFile, statFile, systemCode, unlessMissing } from './file-system.ts';

/**
 * Moves a file that was judged to another place, and only that one: another process may have renamed a good one into its
 * place since. That one goes back.
 *
 * @returns whether the judged one was moved
 */
export async function takeJudged(path: string, judged: Stats, to: string): Promise<boolean> {
  await renameFile(path, to);
  const taken = await statFile(to).catch(unlessMissing);
  if (!taken || isSame(taken, judged)) return true;
  await putBack(to, path);
  return false;
}

/** A rename changes neither. */
const isSame = (one: Stats, other: Stats) => one.ino === other.ino && one.mtimeMs === other.mtimeMs;

async function putBack(from: string, path: string): Promise<void> {
  try {
    await linkFile(from, path);
  } catch (error) {
    // What came meanwhile is newer. What cannot be linked, such as a folder, is moved.
    if (systemCode(error) !== 'EEXIST') return await renameFile(from, path);
  }
  await removeFile(from);
}
