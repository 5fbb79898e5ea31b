import { statSync } from 'node:fs';
import type { BlobStore } from './blob-store.ts';

const mark: unique symbol = Symbol('blob folder');

/** Where blobs lie as files. */
export interface BlobFolder {
  folder: string;
  /** What dead processes left beside it and cannot be removed, and why. */
  leftovers: readonly string[];
}

/**
 * Marks a store whose blobs lie in a folder. From a spool on the same disk it adopts by a rename: to move a file aside before
 * that, so that it is not lost, costs more than it saves.
 */
export function inFolder(store: BlobStore, folder: BlobFolder): BlobStore {
  return Object.assign(store, { [mark]: folder });
}

/** The folder of a store that is marked. */
export function blobFolderOf(store: BlobStore & { [mark]?: BlobFolder }): BlobFolder | undefined {
  return store[mark];
}

/** Whether two folders are on one disk; not, where that cannot be told. */
export function isSameDisk(one: string, other: string): boolean {
  try {
    return statSync(one).dev === statSync(other).dev;
  } catch {
    return false;
  }
}
