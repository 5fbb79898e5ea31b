import type { Digest } from '../oci/digest.ts';
import type { ContentHash } from './content-hash.ts';
import type { Ring } from './ring.ts';
import { createRunningHash, type RunningHash, type RunningHashParts } from './running-hash.ts';

/**
 * A hash that is worked out elsewhere; `undefined`: there is no such, or it is not worth it.
 *
 * @param isFast whether the blob comes faster than it can be taken in here
 */
export type HashElsewhere = (digest: Digest, isFast: boolean) => ContentHash | undefined;

/** The hash of a transfer, worked out where that is best. */
export interface PlacedHash extends RunningHash {
  /** Begins anew. @param total how many bytes are to come; `undefined`: nobody knows */
  begin(total: number | undefined): void;
}

/** A smaller blob is hashed here sooner than it is told to anybody else. */
const leastElsewhere = 1024 * 1024;

/** In such pieces comes what fills all the memory that it is read into: the upstream is faster than this thread. */
const fastPiece = 1024 * 1024;

/**
 * @param parts.elsewhere Default: all is worked out here
 * @param parts.ring what came: each chunk is in it before the hash gets it
 */
export function createPlacedHash(
  digest: Digest,
  {
    elsewhere,
    ring,
    ...parts
  }: Omit<RunningHashParts, 'hash'> & { elsewhere: HashElsewhere | undefined; ring: Pick<Ring, 'at'> },
): PlacedHash {
  const of = (hash?: ContentHash) => createRunningHash(digest, { ...parts, hash });
  let running = of();
  let mayMove = false;

  /** Goes on elsewhere, with all that came, while that is in memory; what was hashed here is hashed again. */
  function move(): boolean {
    mayMove = false;
    const hash = ring.at(0) && elsewhere?.(digest, true);
    if (!hash) return false;
    running.free();
    running = of(hash);
    let length = 0;
    for (let piece = ring.at(0); piece; piece = ring.at(length)) {
      running.update(piece.bytes, piece.memory);
      length += piece.bytes.byteLength;
    }
    return true;
  }

  return {
    begin(total = Number.POSITIVE_INFINITY) {
      running.free();
      const isLarge = total > leastElsewhere;
      const hash = isLarge ? elsewhere?.(digest, false) : undefined;
      mayMove = isLarge && !hash;
      running = of(hash);
    },
    update(chunk, memory) {
      const moves = mayMove && chunk.byteLength >= fastPiece;
      if (!moves || !move()) running.update(chunk, memory);
    },
    ready: () => running.ready(),
    settle: (position) => running.settle(position),
    settled: () => running.settled(),
    finish: () => running.finish(),
    free: () => running.free(),
  };
}
