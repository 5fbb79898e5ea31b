import { createHash } from 'node:crypto';
import { copyFileSync, linkSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What came to be in a store. */
export interface Grown {
  records: number;
  blobs: number;
  repositories: number;
  /** Links of the repository that is much larger than all others. */
  nightlyLinks: number;
}

/** One image of ten is a nightly build of one repository; of the others, twenty share one. */
const nightlyShare = 10;
const imagesPerRepository = 20;
const nightly = 'team%2^fnightly';

/** File systems take some 65,000 names of one file. */
const mostNames = 30_000;

/**
 * Makes of a `fileStorage` that holds the image `team/app:1` one of many images, as fast as files can be made: their
 * records are further names of those that are there, as it is not what is in them that counts.
 */
export function growStore(folder: string, wanted: { records: number; blobs: number }): Grown {
  const metadata = join(folder, 'metadata');
  const models = filesIn(metadata).map((path) => ({ path, source: join(metadata, path) }));
  const grown = { records: models.length, blobs: 0, repositories: 1, nightlyLinks: 0 };
  const folders = new Set<string>();
  const made = new Set<string>();
  for (let number = 0; grown.records < wanted.records; number++) {
    const repository =
      number % nightlyShare === 0 ? nightly : `group%2^fapp-${Math.floor(number / imagesPerRepository)}`;
    for (const model of models) {
      const path = join(metadata, copyOf(model.path, repository, number));
      if (made.has(path)) continue;
      made.add(path);
      if (!folders.has(dirname(path))) mkdirSync(dirname(path), { recursive: true });
      folders.add(dirname(path));
      if (number % mostNames === mostNames - 1) {
        copyFileSync(model.source, path);
        model.source = path;
      } else {
        linkSync(model.source, path);
      }
      grown.records++;
      if (model.path.startsWith('repository/')) grown.repositories++;
      if (repository === nightly && model.path.startsWith('link/')) grown.nightlyLinks++;
    }
  }
  for (; grown.blobs < wanted.blobs; grown.blobs++) {
    const bytes = `blob ${grown.blobs}`;
    writeFileSync(join(folder, 'blobs', 'sha256', hexOf(bytes)), bytes);
  }
  return grown;
}

function copyOf(path: string, repository: string, number: number): string {
  return path
    .replace('team%2^fapp', repository)
    .replace(/\/1=$/, `/build-${number}=`)
    .replace(/[0-9a-f]{64}/, (hex) => hexOf(`${hex} ${number}`));
}

const hexOf = (text: string) => createHash('sha256').update(text).digest('hex');

function filesIn(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1));
}
