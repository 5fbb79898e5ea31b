import type { Storage } from './storage.ts';

const mark: unique symbol = Symbol('upkeep');

/** Puts right in a store what others did to it; may reject. */
export type Upkeep = () => Promise<void>;

type Kept = { [mark]?: readonly Upkeep[] };

/** Marks a store as one that is to be kept up now and then while it is used: it has no end, nor a time of its own. */
export function withUpkeep<Store extends object>(store: Store, upkeep: readonly Upkeep[]): Store {
  return Object.assign(store, { [mark]: upkeep });
}

/** What stores are to be kept up by, each once. */
export function upkeepOf(...stores: readonly (object & Kept)[]): readonly Upkeep[] {
  return [...new Set(stores.flatMap((store) => store[mark] ?? []))];
}

/** Keeps up the stores of a storage, once at a time; what fails may succeed the next time. Never rejects. */
export function createUpkeep({ blobs, metadata }: Storage): Upkeep {
  const all = upkeepOf(blobs, metadata);
  let running: Promise<void> | undefined;
  return () => {
    running ??= Promise.allSettled(all.map((upkeep) => upkeep())).then(() => {
      running = undefined;
    });
    return running;
  };
}
