/** What some take of a disk beside what it has left at the last look; see {@link createDiskClaims}. */
export interface DiskClaims<T> {
  /** One may grow to so many bytes. */
  set(one: T, most: number): void;
  /** It grows no more. */
  end(one: T): void;
  /** It takes nothing more, and never did. */
  drop(one: T): void;
  /** Bytes that they may grow by, or have since the last look. */
  taken(): number;
  /** To be called before a look. @returns to be called once the disk has told */
  looking(): () => void;
}

/**
 * Counts what may still be taken of a disk. What is written meets a look at the disk that is older: until the next one
 * it counts as what is still to come. What comes during a look may count twice until then.
 *
 * @param presentOf bytes that one takes of the disk by now
 */
export function createDiskClaims<T>(presentOf: (one: T) => number): DiskClaims<T> {
  /** What one may grow to, and what of it the last look knows of. */
  const claims = new Map<T, { most: number; seen: number }>();
  // Both only grow, so that looks which overlap take nothing off twice.
  let kept = 0;
  let keptAndSeen = 0;
  return {
    set(one, most) {
      claims.set(one, { most, seen: claims.get(one)?.seen ?? presentOf(one) });
    },
    end(one) {
      const claim = claims.get(one);
      // It may be stored now, by its name alone.
      if (claim && claims.delete(one)) kept += Math.max(presentOf(one) - claim.seen, 0);
    },
    drop: (one) => void claims.delete(one),
    taken() {
      let bytes = kept - keptAndSeen;
      for (const { most, seen } of claims.values()) bytes += Math.max(most - seen, 0);
      return bytes;
    },
    looking() {
      const present = [...claims.keys()].map((one) => [one, presentOf(one)] as const);
      const keptBefore = kept;
      return () => {
        keptAndSeen = Math.max(keptAndSeen, keptBefore);
        for (const [one, seen] of present) {
          const claim = claims.get(one);
          if (claim) claim.seen = seen;
        }
      };
    },
  };
}
