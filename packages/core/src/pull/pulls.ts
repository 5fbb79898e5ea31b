import { createHeldBlobs } from './held-blobs.ts';
import { createHeldManifests } from './held-manifests.ts';
import { notedPulls, type Pulls } from './noted-pulls.ts';
import { type BlobPull, createPullBlob } from './pull-blob.ts';
import { createPullDigest } from './pull-digest.ts';
import type { PullParts } from './pull-parts.ts';
import { createPullTag } from './pull-tag.ts';
import type { TagTurns } from './tag-turns.ts';

/** What pulls work with beside their parts. */
export interface PullsOptions {
  /** Of processes that share the records. */
  turns: TagTurns | undefined;
  /** Told of each blob that a client's request has to bring in. */
  started(blob: BlobPull): void;
}

/** The pulls of a cache, each of which is noted as a use of what it answers with. */
export function createPulls(parts: PullParts, { turns, started }: PullsOptions): Pulls {
  const pullTag = createPullTag(parts, turns);
  const pulls = {
    heldManifests: createHeldManifests(parts),
    heldBlobs: createHeldBlobs(parts),
    pullTag,
    pullDigest: createPullDigest(parts, pullTag.recentTagOf),
    pullBlob: createPullBlob(parts, started),
  };
  return notedPulls(pulls, { ...parts.usage, now: () => parts.clock.now() });
}
