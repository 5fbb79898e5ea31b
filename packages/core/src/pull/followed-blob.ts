import type { IngestHold } from '../ingest/ingest-hold.ts';
import type { RunningIngest } from '../ingest/ingests.ts';
import type { Digest } from '../oci/digest.ts';
import { type RangeSpec, satisfiableRanges } from '../runtime/byte-range.ts';
import { abortable } from '../runtime/collapse.ts';
import type { BlobAnswer, CacheStatus } from './answer.ts';

/** What is asked of a transfer under way. */
export interface FollowedPull {
  digest: Digest;
  total: number | undefined;
  /** The whole's size as the repository's manifest tells it, for an upstream that does not: announced, never enforced. */
  told: number | undefined;
  ranges: readonly RangeSpec[] | undefined;
  /** Wait until all is verified, whatever is asked for. */
  whole: boolean;
  signal: AbortSignal;
}

/**
 * A blob that is still coming in, ready to be read.
 *
 * @throws what the ingest failed with, where it had to be waited for
 */
export async function followedAnswer(
  ingest: RunningIngest,
  hold: IngestHold,
  request: FollowedPull & { cacheStatus: CacheStatus },
): Promise<BlobAnswer> {
  const { digest, ranges, signal } = request;
  const parted = ranges !== undefined && ranges.length > 0;
  let size = request.total;
  try {
    if (request.whole || (size === undefined && parted)) await abortable(ingest.verified, signal);
    // What fails before the first byte can be read fails with an honest status, not with a broken transfer.
    else await hold.readable(parted ? firstByte(ranges, size) : 0, signal);
    if (hold.isVerified()) size = hold.received();
  } catch (error) {
    await hold.release();
    throw error;
  }
  if (!parted) size ??= request.told;
  return {
    digest,
    ...(size !== undefined && { size }),
    cacheStatus: request.cacheStatus,
    ...(parted && size !== undefined && { parts: satisfiableRanges(ranges, size) }),
    read: (part) => hold.follow(part),
    close: () => hold.release(),
  };
}

/** Where reading starts: nothing needs to be waited for where no part can be read. */
function firstByte(ranges: readonly RangeSpec[], size: number | undefined): number {
  return satisfiableRanges(ranges, size ?? 0)[0]?.from ?? -1;
}
