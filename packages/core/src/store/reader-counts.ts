import type { Digest } from '../oci/digest.ts';

/** How many read each blob. */
export interface ReaderCounts {
  has(digest: Digest): boolean;
  /** One more, until the function is called; again without harm. */
  enter(digest: Digest): () => void;
}

export function createReaderCounts(): ReaderCounts {
  const counts = new Map<Digest, number>();
  return {
    has: (digest) => counts.has(digest),
    enter(digest) {
      let isIn = true;
      counts.set(digest, (counts.get(digest) ?? 0) + 1);
      return () => {
        if (!isIn) return;
        isIn = false;
        const left = (counts.get(digest) ?? 0) - 1;
        if (left > 0) counts.set(digest, left);
        else counts.delete(digest);
      };
    },
  };
}
