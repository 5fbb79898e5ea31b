import type { Digest } from '../oci/digest.ts';
import { markOf } from './graph.ts';
import type { WatchProofs } from './watch-proofs.ts';

/**
 * Content whose records this process removed, and whose bytes may still be here: somebody read them, they were kept for
 * another repository, or what removed them was cut off. What no repository has by the next look goes then, however young it
 * is; what is forgotten here goes by its age.
 */
export interface Unlinked {
  /** A record of it is about to go. */
  add(digest: Digest): void;
  /** Whether a file that was stored then is what the record stood for. */
  has(mark: number, storedAt: number): boolean;
  /** Its bytes are gone. */
  delete(digest: Digest): void;
  /** Listens to proofs no more. */
  close(): void;
}

/** Some 60 bytes each. */
const mostKnown = 100_000;

/** The store's clock may be ahead, and small content may be stored just after its record was written. */
const aheadMs = 5_000;

/** @param parts.watchProofs what is proven anew is not one of them */
export function createUnlinked({ watchProofs, now }: { watchProofs: WatchProofs; now: () => number }): Unlinked {
  const removedAt = new Map<number, number>();
  const close = watchProofs(({ digest }) => void removedAt.delete(markOf(digest)));
  return {
    add(digest) {
      const mark = markOf(digest);
      removedAt.delete(mark);
      removedAt.set(mark, now());
      if (removedAt.size <= mostKnown) return;
      const [oldest] = removedAt.keys();
      removedAt.delete(oldest as number);
    },
    has(mark, storedAt) {
      const at = removedAt.get(mark);
      return at !== undefined && storedAt <= at + aheadMs;
    },
    delete: (digest) => void removedAt.delete(markOf(digest)),
    close,
  };
}
