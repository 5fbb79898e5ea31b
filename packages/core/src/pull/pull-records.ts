import { createLinks } from '../catalog/links.ts';
import { createManifests } from '../catalog/manifests.ts';
import { createReferrersRecords } from '../catalog/referrer-records.ts';
import { createRepositories } from '../catalog/repositories.ts';
import { createTagRecords } from '../catalog/tag-records.ts';
import { createUsage } from '../retention/usage.ts';
import { type WatchedUsage, watchFirstUse } from '../retention/watch-first-use.ts';
import { type WatchProofs, watchProofs } from '../retention/watch-proofs.ts';
import type { Clock } from '../runtime/clock.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { StoreEvent } from '../store/events.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import type { PullParts } from './pull-parts.ts';

// What stays in memory of what is stored: some 700 bytes each, and an image has several links.
const mostRecords = 20_000;
const mostLinks = 50_000;
const mostReferrers = 1_000;

/** What is known of what is stored, as pulls use it. */
export interface PullRecords
  extends Pick<PullParts, 'tags' | 'links' | 'manifests' | 'referrers' | 'repositories' | 'usage'> {
  watchProofs: WatchProofs;
  whenUsed: WatchedUsage['whenUsed'];
}

/** @param parts.maxBytes bytes of manifests kept in memory */
export function createPullRecords(parts: {
  metadata: MetadataStore;
  blobs: BlobStore;
  maxBytes: number;
  maxManifestBytes(): number;
  validForMs(upstream: string): number;
  clock: Clock;
  observe(event: StoreEvent): void;
}): PullRecords {
  const { links, watch } = watchProofs(createLinks(parts, mostLinks));
  return {
    tags: createTagRecords(parts, mostRecords),
    links,
    manifests: createManifests(parts),
    referrers: createReferrersRecords(parts, { most: mostReferrers, maxBytes: parts.maxBytes / 4 }),
    repositories: createRepositories(parts, mostRecords),
    ...watchFirstUse(createUsage(parts)),
    watchProofs: watch,
  };
}
