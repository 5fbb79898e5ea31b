import { heldWholeBytes } from '../ingest/hold-back.ts';
import { satisfiableRanges } from '../runtime/byte-range.ts';
import { bytesOf, collect } from '../runtime/bytes.ts';
import type { BlobAnswer } from './answer.ts';
import { type PassedPull, passedWhole } from './passed-blob.ts';
import type { PullParts } from './pull-parts.ts';

/**
 * Parts of a blob that cannot be kept here, in an order that one pass cannot give: cut out of the whole where that is
 * held back until it is verified anyway (SEMANTICS 18). Of a larger one the whole is the answer (RFC 9110 14.2), rather
 * than a download for each part.
 *
 * @param told its size, as the repository says
 */
export async function heldParts(parts: PullParts, request: PassedPull, told?: number): Promise<BlobAnswer> {
  const { digest, ranges } = request;
  const whole = await passedWhole(parts, request);
  const expected = whole.size ?? told;
  if (!ranges?.length || expected === undefined || expected > heldWholeBytes) return whole;
  const bytes = await collect(whole.read(), heldWholeBytes).finally(() => whole.close());
  // Larger than it was told to be.
  if (!bytes) return await passedWhole(parts, request);
  const size = bytes.byteLength;
  return {
    digest,
    size,
    cacheStatus: whole.cacheStatus,
    parts: satisfiableRanges(ranges, size),
    read: (part = { from: 0, to: size - 1 }) => bytesOf(bytes.subarray(part.from, part.to + 1)),
    close: async () => undefined,
  };
}
