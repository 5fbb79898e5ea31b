import type { RunningIngest } from '../ingest/ingests.ts';
import type { Permission } from '../ingest/leader.ts';
import type { SpareTransfer } from '../ingest/precedence.ts';
import type { Digest } from '../oci/digest.ts';
import type { SaidOfBlob } from '../upstream/said-of-blob.ts';
import { blobFetch } from './blob-fetch.ts';
import { proveBlob, saidByLink } from './blob-proof.ts';
import type { PullParts } from './pull-parts.ts';
import { segmentRules } from './segment-rules.ts';
import { queryOf, type Target } from './target.ts';

/** A blob to bring in. */
export interface IngestStart {
  target: Target;
  digest: Digest;
  /** `clock.monotonic()` ms at which whoever asks began to wait. */
  since: number;
  /** What the repository said of it already. Default: nothing. */
  said?: SaidOfBlob | undefined;
  /** Whether the store has it, and cannot give it right. Default false. */
  storeFailed?: boolean;
  /** Given where nobody asks yet. */
  spare?: SpareTransfer;
}

/**
 * Starts the transfer of a blob that is neither here nor under way.
 *
 * @throws ProxyCacheError `too-many-ingests`, `closed`
 */
export function startIngest(parts: PullParts, start: IngestStart): RunningIngest {
  const { target, digest, since, storeFailed = false, spare } = start;
  const { upstream, repository } = target.place;
  const waitedMs = parts.clock.monotonic() - since;
  const fromStart = blobFetch(parts, { target, digest, since, slabs: parts.slabs });
  // What came before came from elsewhere, if nobody has asked yet.
  const fromMiddle = blobFetch(parts, { target, digest, slabs: parts.slabs });
  return parts.ingests.start(
    {
      upstream,
      repository,
      digest,
      told: parts.manifests.sizesOf(digest)[0]?.size,
      fetch: (from, ...how) => (from === 0 ? fromStart : fromMiddle)(from, ...how),
      permission: permissionOf(parts, start),
      storeFailed,
      room: parts.roomFor({ upstream, isSpare: spare !== undefined }),
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

/** Whether other processes' bytes are this repository's, too. */
function permissionOf(parts: PullParts, { target, digest, said }: IngestStart): Permission {
  return {
    place: sharedPlaceKey(target),
    said,
    async ask(signal) {
      const link = await parts.links.find(target.place, 'blob', digest, signal);
      if (link) return { kind: 'found', value: saidByLink(link) };
      const within = { ms: target.upstream.blobWithinMs, signal };
      const query = queryOf(target, parts.clock.monotonic(), within);
      return await target.upstream.client.statBlob({ ...query, digest });
    },
  };
}

/** A repository as those who may read a transfer are told by. */
export const placeKey = (target: Target): string => `${target.place.term?.number ?? 0}/${sharedPlaceKey(target)}`;

/** The same in all processes, of which each counts terms of its own. */
const sharedPlaceKey = ({ place }: Target): string => `${place.generation}/${place.scope}/${place.repository}`;
