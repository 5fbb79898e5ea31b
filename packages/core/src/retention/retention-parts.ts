import type { Links } from '../catalog/links.ts';
import type { Manifests } from '../catalog/manifests.ts';
import type { ReferrersRecords } from '../catalog/referrer-records.ts';
import type { Repositories } from '../catalog/repositories.ts';
import type { TagRecords } from '../catalog/tag-records.ts';
import type { Digest } from '../oci/digest.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Coordinator } from '../store/coordinator.ts';
import type { StoreEvent } from '../store/events.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import type { SharedBlobs } from '../store/shared-blobs.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { RetentionEvent } from './events.ts';
import type { ManifestNeeds } from './manifest-needs.ts';
import type { StayOf } from './retention-options.ts';
import type { Gone } from './tell-others.ts';
import type { Unlinked } from './unlinked.ts';
import type { Usage } from './usage.ts';
import type { WatchProofs } from './watch-proofs.ts';

/** What retention works with. */
export interface RetentionParts {
  metadata: MetadataStore;
  blobs: Pick<SharedBlobs, 'open' | 'digests' | 'delete' | 'isOpen'>;
  tags: Pick<TagRecords, 'remove' | 'forget'>;
  links: Pick<Links, 'remove' | 'forget'>;
  referrers: Pick<ReferrersRecords, 'remove' | 'forget'>;
  repositories: Pick<Repositories, 'remove' | 'forget'>;
  manifests: Pick<Manifests, 'forget'>;
  needs: ManifestNeeds;
  gone: Gone;
  usage: Pick<Usage, 'held' | 'lastUsed' | 'forget' | 'since'>;
  unlinked: Unlinked;
  watchProofs: WatchProofs;
  /** Whether a blob is coming in, or waits for the store. */
  isUnderWay(digest: Digest): boolean;
  /** The client of an upstream; `undefined` of one that was removed. */
  clientOf(upstream: string): Pick<Upstream, 'status' | 'ping'> | undefined;
  stayOf: StayOf;
  /** How long bytes stay that no repository has. */
  unusedForMs: number;
  coordinator: Coordinator | undefined;
  /** Called when a sweep is left to another process, or has been its. */
  sweptElsewhere(): void;
  clock: Clock;
  observe(event: RetentionEvent | StoreEvent): void;
}
