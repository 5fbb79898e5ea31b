import type { Stats } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Digest, digestAlgorithm, digestHex } from '../oci/digest.ts';
import type { Clock } from '../runtime/clock.ts';
import { orRemake, type Remake } from './file-remake.ts';
import { statFile, syncToDisk, unlessMissing } from './file-system.ts';
import { takeJudged } from './file-take.ts';

/** Where wrong blobs are kept for a person to look at, the newest of them. */
export interface QuarantineFolder {
  /**
   * Moves what is at `path` here, if it is still what was judged; a rename, so that a crash leaves it in one place or the
   * other.
   *
   * @returns `false` when nothing is there, or something else
   * @throws what the system says; it is where it was then
   */
  take(digest: Digest, path: string, judged: Stats): Promise<boolean>;
}

const mostKept = 100;
const mostBytes = 1024 ** 3;
const longestMs = 7 * 24 * 3_600_000;

/** `<directory>/<algorithm>/<hex>.<ms since the epoch>`. */
const namePattern = /^[0-9a-f]+\.(\d+)$/;

export function createQuarantineFolder(
  directory: string,
  options: { remake: Remake; durable: boolean; clock: Clock },
): QuarantineFolder {
  const { remake, durable, clock } = options;

  return {
    async take(digest, path, judged) {
      const folder = join(directory, digestAlgorithm(digest));
      const to = join(folder, `${digestHex(digest)}.${Math.max(Math.floor(clock.now()), 0)}`);
      if (!(await orRemake(() => takeJudged(path, judged, to), remake).catch(unlessMissing))) return false;
      if (durable) for (const changed of [dirname(path), folder]) await syncToDisk(changed);
      // That the oldest cannot leave is no reason to keep a wrong blob in sight.
      await trim(directory, clock.now() - longestMs).catch(() => undefined);
      return true;
    },
  };
}

/** Lets go what is too old, and the oldest while there are too many, or too many bytes of them. */
async function trim(directory: string, unlessAfter: number): Promise<void> {
  // Two of one instant: the one that was stored later is the newer.
  const kept = (await listKept(directory)).sort((a, b) => b.at - a.at || b.storedAt - a.storedAt);
  let bytes = 0;
  for (const [index, { path, at, size }] of kept.entries()) {
    const fits = index < mostKept && bytes + size <= mostBytes && at >= unlessAfter;
    if (fits) bytes += size;
    else await rm(path, { recursive: true, force: true });
  }
}

type Kept = { path: string; at: number; storedAt: number; size: number };

async function listKept(directory: string): Promise<Kept[]> {
  const kept: Kept[] = [];
  for (const algorithm of await readdir(directory)) {
    const names = await readdir(join(directory, algorithm)).catch(() => []);
    for (const name of names) {
      const at = namePattern.exec(name)?.[1];
      const path = join(directory, algorithm, name);
      // Another process may have let it go meanwhile.
      const stats = at === undefined ? undefined : await statFile(path).catch(unlessMissing);
      if (stats) kept.push({ path, at: Number(at), storedAt: stats.mtimeMs, size: stats.size });
    }
  }
  return kept;
}
