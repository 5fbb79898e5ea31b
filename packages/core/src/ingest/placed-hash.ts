import type { Digest } from '../oci/digest.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
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

/** What a placed hash is worked out with. */
export interface PlacedHashParts extends Omit<RunningHashParts, 'hash'> {
  /** Default: all is worked out here. */
  elsewhere?: HashElsewhere | undefined;
  /** What came: each chunk is in it before the hash gets it. */
  ring: Pick<Ring, 'at'>;
  /** Tells how fast the blob comes. Default: the machine's. */
  clock?: Pick<Clock, 'monotonic'> | undefined;
}

const MiB = 1024 * 1024;

/** A smaller blob is hashed here sooner than it is told to anybody else. */
const leastElsewhere = MiB;

/** In bytes/s: twice a gigabit. */
const fastPace = 250_000_000;

/** Of how much the pace is told. Less may have waited in the socket for a thread that was late; the ring keeps no more. */
const leastSeen = 1.75 * MiB;

/** With less to come, to hash again what came, and to wake a thread, is not worth it. */
const leastToCome = 4 * MiB;

export function createPlacedHash(
  digest: Digest,
  { elsewhere, ring, clock = systemClock, ...parts }: PlacedHashParts,
): PlacedHash {
  let running = createRunningHash(digest, parts);
  let mayMove = false;
  let toCome = 0;
  let came = 0;
  let firstAt: number | undefined;

  /** Whether a chunk shows that the blob comes too fast for this thread, in memory that others can look at. */
  function isFast({ buffer }: Uint8Array): boolean {
    if (came < leastSeen || toCome < leastToCome || !(buffer instanceof SharedArrayBuffer)) return false;
    const seconds = (clock.monotonic() - (firstAt ?? 0)) / 1000;
    return came >= fastPace * seconds;
  }

  /** Goes on elsewhere, with all that came, while that is in memory; what was hashed here is hashed again. */
  function move(): boolean {
    mayMove = false;
    const hash = ring.at(0) && elsewhere?.(digest, true);
    if (!hash) return false;
    running.free();
    running = createRunningHash(digest, { ...parts, hash });
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
      toCome = total;
      came = 0;
      firstAt = undefined;
      running = createRunningHash(digest, { ...parts, hash });
    },
    update(chunk, memory) {
      firstAt ??= clock.monotonic();
      came += chunk.byteLength;
      toCome -= chunk.byteLength;
      const moves = mayMove && isFast(chunk);
      if (!moves || !move()) running.update(chunk, memory);
    },
    ready: () => running.ready(),
    settle: (position) => running.settle(position),
    settled: () => running.settled(),
    finish: () => running.finish(),
    free: () => running.free(),
  };
}
