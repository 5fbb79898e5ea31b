import type { Rest } from '../ingest/follower.ts';
import type { IngestHold } from '../ingest/ingest-hold.ts';
import type { RunningIngest } from '../ingest/ingests.ts';
import type { Digest } from '../oci/digest.ts';
import { type ByteRange, type RangeSpec, satisfiableRanges } from '../runtime/byte-range.ts';
import { type Bytes, begun, discard } from '../runtime/bytes.ts';
import { abortable } from '../runtime/collapse.ts';
import type { BlobAnswer, CacheStatus } from './answer.ts';

/** What is asked of a transfer under way. */
export interface FollowedPull {
  digest: Digest;
  /** The whole's size as the repository's manifest tells it, for an upstream that does not: announced, never enforced. */
  told: number | undefined;
  ranges: readonly RangeSpec[] | undefined;
  /** Wait until all is verified, whatever is asked for. */
  whole: boolean;
  /** Gets what cannot be read here any more, of a part (default: the whole) of a blob of that size, where it is known. */
  goOn(rest: Rest, what: { part: ByteRange | undefined; size: number | undefined; signal: AbortSignal }): Bytes;
  signal: AbortSignal;
}

/**
 * A blob that is still coming in, ready to be read.
 *
 * @throws what the ingest failed with before the first byte could be read
 */
export async function followedAnswer(
  ingest: RunningIngest,
  hold: IngestHold,
  request: FollowedPull & { cacheStatus: CacheStatus },
): Promise<BlobAnswer> {
  const { digest, ranges, signal } = request;
  const left = new AbortController();
  const parted = ranges !== undefined && ranges.length > 0;
  let size: number | undefined;
  let parts: ByteRange[] | undefined;
  let first: Bytes | undefined;
  let isTaken = false;
  let isAlone = false;
  try {
    // A transfer that starts anew may find that the blob has another size than was told before.
    for (let told = hold.total(); !(await isBegun(told)); told = hold.total()) isAlone = false;
  } catch (error) {
    await hold.release();
    throw error;
  }
  const announced = parted ? size : (size ?? request.told);

  /** `false`: it has another size than `told` meanwhile. */
  async function isBegun(told: number | undefined): Promise<boolean> {
    size = told;
    if (request.whole || (size === undefined && parted)) await abortable(ingest.verified, signal);
    parts = partsOf(ranges, size ?? hold.received());
    // What fails before the first byte can be read fails with an honest status, not with a broken transfer.
    if (parts === undefined || parts[0]) await hold.readable(parts?.[0]?.from ?? 0, signal);
    if (hold.isVerified()) {
      size = hold.received();
      parts = partsOf(ranges, size);
    } else if (hold.total() !== told) return false;
    try {
      if (parts === undefined || parts[0]) first = await begun(followed(parts?.[0]));
      return true;
    } catch (error) {
      if (hold.total() === told) throw error;
      return false;
    }
  }

  function followed(part: ByteRange | undefined): Bytes {
    const total = size;
    return hold.follow({
      part,
      total,
      goOn(rest) {
        isAlone = true;
        letGo();
        return request.goOn(rest, { part, size: total, signal: AbortSignal.any([signal, left.signal]) });
      },
    });
  }

  /** A disk that is full gets its space back as soon as nobody needs the file: another read of it would. */
  function letGo(): void {
    if (isTaken && isAlone && (parts?.length ?? 0) < 2) void hold.release();
  }

  return {
    digest,
    ...(announced !== undefined && { size: announced }),
    cacheStatus: request.cacheStatus,
    ...(parts && { parts }),
    read(part) {
      isTaken = true;
      if (part !== undefined && part !== parts?.[0]) {
        const other = followed(part);
        // Of the whole one part is read in its place.
        if (!parts && first) void discard(first);
        if (!parts) first = undefined;
        return other;
      }
      const begunPart = first ?? followed(part);
      first = undefined;
      letGo();
      return begunPart;
    },
    async close() {
      left.abort();
      if (first) await discard(first);
      await hold.release();
    },
  };
}

function partsOf(ranges: readonly RangeSpec[] | undefined, size: number): ByteRange[] | undefined {
  return ranges?.length ? satisfiableRanges(ranges, size) : undefined;
}
