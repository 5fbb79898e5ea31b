import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Digest, digestAlgorithm, digestHex } from '../oci/digest.ts';
import type { Clock } from '../runtime/clock.ts';
import { makeFolders, renameFile, statFile, syncToDisk, systemCode, unlessMissing } from './file-system.ts';

/** Where wrong blobs are kept for a person to look at, the newest of them. */
export interface QuarantineFolder {
  /**
   * Moves what is at `path` here; a rename, so that a crash leaves it in one place or the other.
   *
   * @returns `false` when nothing is there
   * @throws what the system says; it is where it was then
   */
  take(digest: Digest, path: string): Promise<boolean>;
}

const mostKept = 100;
const mostBytes = 1024 ** 3;

/** `<directory>/<algorithm>/<hex>.<ms since the epoch>`. */
const namePattern = /^[0-9a-f]+\.(\d+)$/;

export function createQuarantineFolder(
  directory: string,
  options: { durable: boolean; clock: Clock },
): QuarantineFolder {
  const { durable, clock } = options;

  async function moveIn(path: string, to: string): Promise<boolean> {
    try {
      await renameFile(path, to);
      return true;
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
    // Nothing is there to be moved, unless it is the folder that is missing.
    const made = await makeFolders(dirname(to), { recursive: true, mode: 0o700 });
    if (made === undefined) return false;
    return (await renameFile(path, to).then(() => true, unlessMissing)) ?? false;
  }

  return {
    async take(digest, path) {
      const folder = join(directory, digestAlgorithm(digest));
      const to = join(folder, `${digestHex(digest)}.${Math.max(Math.floor(clock.now()), 0)}`);
      if (!(await moveIn(path, to))) return false;
      if (durable) for (const changed of [dirname(path), folder]) await syncToDisk(changed);
      // That the oldest cannot leave is no reason to keep a wrong blob in sight.
      await trim(directory).catch(() => undefined);
      return true;
    },
  };
}

/** Lets the oldest go while there are too many, or too many bytes of them. The newest stays, however large it is. */
async function trim(directory: string): Promise<void> {
  const kept = (await listKept(directory)).sort((a, b) => b.at - a.at);
  let bytes = 0;
  for (const [index, { path, size }] of kept.entries()) {
    if (index > 0) bytes += size;
    if (index >= mostKept || bytes > mostBytes) await rm(path, { recursive: true, force: true });
  }
}

async function listKept(directory: string): Promise<{ path: string; at: number; size: number }[]> {
  const kept: { path: string; at: number; size: number }[] = [];
  for (const algorithm of await readdir(directory)) {
    const names = await readdir(join(directory, algorithm)).catch(() => []);
    for (const name of names) {
      const at = namePattern.exec(name)?.[1];
      const path = join(directory, algorithm, name);
      // Another process may have let it go meanwhile.
      const stats = at === undefined ? undefined : await statFile(path).catch(unlessMissing);
      if (stats) kept.push({ path, at: Number(at), size: stats.size });
    }
  }
  return kept;
}
