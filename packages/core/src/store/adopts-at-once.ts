import type { BlobStore } from './blob-store.ts';

const mark: unique symbol = Symbol('adopts at once');

/** Marks a store that adopts by a rename: to move a file aside before that, so that it is not lost, costs more than it saves. */
export function adoptingAtOnce(store: BlobStore): BlobStore {
  return Object.assign(store, { [mark]: true });
}

export const adoptsAtOnce = (store: BlobStore): boolean => mark in store;
