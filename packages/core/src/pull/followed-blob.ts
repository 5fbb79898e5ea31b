import { heldWholeBytes } from '../ingest/hold-back.ts';
import type { IngestHold } from '../ingest/ingest.ts';
import type { RunningIngest } from '../ingest/ingests.ts';
import type { Digest } from '../oci/digest.ts';
import { type RangeSpec, satisfiableRanges } from '../runtime/byte-range.ts';
import { abortable } from '../runtime/collapse.ts';
import type { BlobAnswer, CacheStatus } from './answer.ts';

/** What is asked of a transfer under way. */
export interface FollowedPull {
  digest: Digest;
  total: number | undefined;
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
    // What is held back whole may as well be waited for: a failure is an honest status then, not a broken transfer.
    if (request.whole || (size === undefined && parted) || (size ?? heldWholeBytes + 1) <= heldWholeBytes) {
      await abortable(ingest.verified, signal);
      size = hold.received();
    }
  } catch (error) {
    await hold.release();
    throw error;
  }
  return {
    digest,
    ...(size !== undefined && { size }),
    cacheStatus: request.cacheStatus,
    ...(parted && size !== undefined && { parts: satisfiableRanges(ranges, size) }),
    read: (part) => hold.follow(part),
    close: () => hold.release(),
  };
}
