import type { SpoolFile } from './spool-file.ts';

/** What files take of a disk beside what it has left at the last look; see {@link createDiskClaims}. */
export interface DiskClaims {
  /** A file may grow to so many bytes. */
  set(file: SpoolFile, most: number): void;
  /** It grows no more. */
  end(file: SpoolFile): void;
  /** It takes nothing more, and never did. */
  drop(file: SpoolFile): void;
  /** Bytes that files may grow by, or have since the last look. */
  taken(): number;
  /** To be called before a look. @returns to be called once the disk has told */
  looking(): () => void;
}

/** What a file takes of the disk by now. */
export const presentOf = ({ written, placed }: SpoolFile): number => written + placed.size;

/**
 * Counts what files may still take of a disk. What is written meets a look at the disk that is older: until the next one
 * it counts as what is still to come. What comes during a look may count twice until then.
 */
export function createDiskClaims(): DiskClaims {
  /** What a file may grow to, and what of it the last look knows of. */
  const claims = new Map<SpoolFile, { most: number; seen: number }>();
  // Both only grow, so that looks which overlap take nothing off twice.
  let kept = 0;
  let keptAndSeen = 0;
  return {
    set(file, most) {
      claims.set(file, { most, seen: claims.get(file)?.seen ?? presentOf(file) });
    },
    end(file) {
      const claim = claims.get(file);
      // It may be stored now, by its name alone.
      if (claim && claims.delete(file)) kept += Math.max(presentOf(file) - claim.seen, 0);
    },
    drop: (file) => void claims.delete(file),
    taken() {
      let bytes = kept - keptAndSeen;
      for (const { most, seen } of claims.values()) bytes += Math.max(most - seen, 0);
      return bytes;
    },
    looking() {
      const present = [...claims.keys()].map((file) => [file, presentOf(file)] as const);
      const keptBefore = kept;
      return () => {
        keptAndSeen = Math.max(keptAndSeen, keptBefore);
        for (const [file, seen] of present) {
          const claim = claims.get(file);
          if (claim) claim.seen = seen;
        }
      };
    },
  };
}
