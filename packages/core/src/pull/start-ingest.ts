import type { RunningIngest } from '../ingest/ingests.ts';
import type { SpareTransfer } from '../ingest/precedence.ts';
import type { Digest } from '../oci/digest.ts';
import { blobFetch } from './blob-fetch.ts';
import { proveBlob } from './blob-proof.ts';
import type { PullParts } from './pull-parts.ts';
import { segmentRules } from './segment-rules.ts';
import type { Target } from './target.ts';

/** A blob to bring in. */
export interface IngestStart {
  target: Target;
  digest: Digest;
  /** `clock.monotonic()` ms at which whoever asks began to wait. */
  since: number;
  /** Given where nobody asks yet. */
  spare?: SpareTransfer;
}

/**
 * Starts the transfer of a blob that is neither here nor under way.
 *
 * @throws ProxyCacheError `too-many-ingests`, `closed`
 */
export function startIngest(parts: PullParts, { target, digest, since, spare }: IngestStart): RunningIngest {
  const { upstream, repository } = target.place;
  const waitedMs = parts.clock.monotonic() - since;
  return parts.ingests.start(
    {
      upstream,
      repository,
      digest,
      fetch: blobFetch(parts, { target, digest, since, slabs: parts.slabs }),
      // Nobody waits for what is fetched ahead, and nobody's connections are for it.
      segments: spare ? undefined : segmentRules(parts, { target, digest }),
      // SEMANTICS 19: a 2xx with other bytes proves nothing.
      prove: (size) => proveBlob(parts, target, { digest, size }),
      resumeWithinMs: target.upstream.resumeWithinMs,
      firstByteWithinMs: target.upstream.blobWithinMs - waitedMs,
      isDown: () => target.upstream.client.state(target.place) !== 'closed',
      ...(spare && { spare }),
    },
    placeKey(target),
  );
}

/** A repository as those who may read a transfer are told by. */
export const placeKey = ({ place }: Target): string => `${place.scope}/${place.repository}`;
