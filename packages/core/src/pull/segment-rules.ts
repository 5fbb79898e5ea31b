import type { SegmentRules } from '../ingest/segmented-body.ts';
import type { Digest } from '../oci/digest.ts';
import { blobFetch } from './blob-fetch.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

/** How a blob's transfer may have segments; `undefined`: its upstream's have none. */
export function segmentRules(
  parts: PullParts,
  { target, digest }: { target: Target; digest: Digest },
): SegmentRules | undefined {
  const { client, segments: link } = target.upstream;
  if (!link) return undefined;
  return {
    link,
    fetch: ({ from, to }, signal, ifMatch) =>
      blobFetch(parts, { target, digest, slabs: parts.slabs }, to)(from, signal, ifMatch),
    // A host that has just failed is not to be asked for more than it has to.
    isCalm: () => client.status().hosts.every(({ state, failures }) => state === 'closed' && failures === 0),
  };
}
