import { freeBytes } from '../ingest/in-turn.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from './target.ts';

/** A blob that is to be fetched, and the manifest that names it. */
export interface Wanted {
  target: Target;
  digest: Digest;
  /** In bytes, as the manifest says. */
  size: number;
  manifest: Digest;
  /** Runs what is done for it as part of the request that it is for. Default: as nobody's. */
  within?: (<T>(run: () => T) => T) | undefined;
}

/** What is to be fetched from one upstream, in the order in which clients ask. */
export interface PrefetchQueue {
  readonly size: number;
  /** Adds what is not there yet, and gives what had to make room for it, which has waited longest. */
  add(wanted: Wanted): Wanted | undefined;
  /** Takes the next one out: only a small one, unless large ones are in nobody's way now. */
  take(how: { large: boolean }): Wanted | undefined;
  delete(digest: Digest): void;
  /** Takes all out. */
  clear(): readonly Wanted[];
}

const mostWaiting = 1_000;

export function createPrefetchQueue(): PrefetchQueue {
  const waiting = new Map<Digest, Wanted>();
  return {
    get size() {
      return waiting.size;
    },
    add(wanted) {
      if (waiting.has(wanted.digest)) return undefined;
      waiting.set(wanted.digest, wanted);
      const [first] = waiting.size > mostWaiting ? waiting.values() : [];
      if (first) waiting.delete(first.digest);
      return first;
    },
    take({ large }) {
      for (const [digest, wanted] of waiting) {
        if (!large && wanted.size > freeBytes) continue;
        waiting.delete(digest);
        return wanted;
      }
      return undefined;
    },
    delete: (digest) => void waiting.delete(digest),
    clear() {
      const all = [...waiting.values()];
      waiting.clear();
      return all;
    },
  };
}
