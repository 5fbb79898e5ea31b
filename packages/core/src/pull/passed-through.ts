import type { UncachedReason } from '../ingest/is-local.ts';
import { satisfiableRanges } from '../runtime/byte-range.ts';
import type { BlobAnswer } from './answer.ts';
import type { BlobProof } from './blob-proof.ts';
import { heldParts } from './held-parts.ts';
import { type PassedPull, passedParts, passedWhole } from './passed-blob.ts';
import type { PullParts } from './pull-parts.ts';
import { unreadAnswer } from './unread-answer.ts';
import { readableInPart, verifiedParts } from './verified-parts.ts';

/** Answers a blob that cannot be kept here, by requests of its own to the upstream. */
export function createPassedThrough(
  parts: PullParts,
  prove: BlobProof,
): (request: PassedPull, reason: UncachedReason) => Promise<BlobAnswer> {
  return async ({ target, digest, ranges, signal }, reason) => {
    const { upstream, repository } = target.place;
    const asked = { target, digest, ranges, signal };
    parts.observe({ type: 'passed-through', upstream, repository, digest, reason });
    // What takes over from a stored blob that cannot be read on is read from the middle.
    if (!ranges?.length) return { ...readableInPart(await passedWhole(parts, asked)), uncached: reason };
    const { size } = await prove(target, { digest, signal });
    if (size === undefined) return heldParts(parts, asked);
    const [first, ...others] = satisfiableRanges(ranges, size);
    if (!first) return { ...unreadAnswer(asked, { size }), parts: [] };
    // SEMANTICS 18: what goes on to the end could look complete; several parts would be as many requests.
    const verifies = target.upstream.coldRange === 'verify' || others.length > 0 || first.to === size - 1;
    return (verifies ? verifiedParts : passedParts)(parts, asked, { size, ranges: [first, ...others] });
  };
}
