import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { Violation } from './violation.ts';

/** The files below a folder of a file storage. */
export function filesIn(directory: string, folder: string): string[] {
  return readdirSync(join(directory, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name, parentPath }) => join(parentPath, name));
}

async function hexOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

/** Looks at the blobs that are visible in a file storage; what has not changed since is not read again. */
export function createBlobCheck(): {
  /**
   * How many there are. `damaged` are the digests that were made wrong on purpose.
   *
   * @throws Violation for one whose bytes are not those of its name
   */
  check(directory: string, damaged?: ReadonlySet<string>): Promise<number>;
} {
  const known = new Map<string, string>();
  const mark = ({ ino, size, mtimeMs, ctimeMs }: Stats) => `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
  return {
    async check(directory, damaged) {
      const files = filesIn(directory, join('blobs', 'sha256'));
      for (const file of files) {
        const name = file.slice(-64);
        const now = mark(statSync(file));
        if (known.get(file) === now) continue;
        if (!damaged?.has(`sha256:${name}`) && (await hexOf(file)) !== name) {
          throw new Violation(`${file} (${statSync(file).size} bytes) is visible and wrong`);
        }
        known.set(file, now);
      }
      for (const file of known.keys()) if (!file.startsWith(`${directory}/`)) known.delete(file);
      return files.length;
    },
  };
}
