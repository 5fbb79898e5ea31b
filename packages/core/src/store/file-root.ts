import fs from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../runtime/clock.ts';
import { inFolder } from './blob-folder.ts';
import type { BlobStore } from './blob-store.ts';
import { blobAlgorithms, createFileBlobs } from './file-blobs.ts';
import { checkFormat, restoreMark } from './file-format.ts';
import { createQuarantineFolder } from './file-quarantine.ts';
import { createRemake, type Remake } from './file-remake.ts';
import { storageFailure } from './file-system.ts';
import { createTempFolder, sweepTempFolder, type TempFolder } from './file-temp.ts';
import { makeFolderNow } from './make-folder.ts';
import { type Upkeep, withUpkeep } from './upkeep.ts';

/** The blobs of a folder, and where files are made that become some of it. */
export interface FileRoot {
  blobs: BlobStore;
  temp: TempFolder;
  /** Has a folder for each digest algorithm. */
  blobFolder: string;
  remake: Remake;
  upkeep: readonly Upkeep[];
}

/**
 * Makes a folder that keeps blobs, or opens it.
 *
 * @param options.beside further folders of ours in it, which are made
 * @throws ProxyCacheError as `fileStorage`
 */
export function openFileRoot(
  root: string,
  { beside = [], durable, clock }: { beside?: readonly string[]; durable: boolean; clock: Clock },
): FileRoot {
  const [blobFolder, quarantine, tmp] = [join(root, 'blobs'), join(root, 'quarantine'), join(root, 'tmp')];
  const folders = [blobFolder, quarantine].flatMap((folder) => blobAlgorithms.map((name) => join(folder, name)));
  const all = [...folders, ...beside, tmp];
  let leftovers: string[];
  try {
    makeFolderNow(root, { durable });
    checkFormat(root, ['blobs', 'metadata', 'quarantine', 'spool', 'tmp']);
    for (const folder of all) makeFolderNow(folder, { durable });
    for (const folder of all) fs.accessSync(folder, fs.constants.W_OK | fs.constants.X_OK);
    leftovers = sweepTempFolder(tmp);
  } catch (error) {
    throw storageFailure(`use ${root} as storage`, error);
  }
  const remake = createRemake(root, all, { durable });
  const temp = createTempFolder(tmp, { durable, remake });
  const blobs = createFileBlobs(blobFolder, {
    temp,
    quarantine: createQuarantineFolder(quarantine, { remake, durable, clock }),
    remake,
    durable,
    clock,
  });
  // All else is made again by what needs it; nothing needs this before the next start.
  const upkeep = [() => restoreMark(root, { durable })];
  const marked = withUpkeep(inFolder(blobs, { folder: blobFolder, leftovers }), upkeep);
  return { blobs: marked, temp, blobFolder, remake, upkeep };
}
