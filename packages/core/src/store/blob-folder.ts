import { statSync } from 'node:fs';
import type { BlobStore } from './blob-store.ts';

const mark: unique symbol = Symbol('blob folder');

/**
 * Marks a store whose blobs lie in a folder. From a spool on the same disk it adopts by a rename: to move a file aside before
 * that, so that it is not lost, costs more than it saves.
 */
export function inFolder(store: BlobStore, folder: string): BlobStore {
  return Object.assign(store, { [mark]: folder });
}

/** The folder of a store that is marked. */
export function blobFolderOf(store: BlobStore & { [mark]?: string }): string | undefined {
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
