import type { Links } from '../catalog/links.ts';
import type { Manifests } from '../catalog/manifests.ts';
import type { ReferrersRecords } from '../catalog/referrer-records.ts';
import type { Repositories } from '../catalog/repositories.ts';
import type { TagRecords } from '../catalog/tag-records.ts';
import type { IngestEvent } from '../ingest/events.ts';
import type { Ingests } from '../ingest/ingests.ts';
import type { Room } from '../ingest/room.ts';
import type { Usage } from '../retention/usage.ts';
import type { Buffers } from '../runtime/buffers.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Running } from '../runtime/running.ts';
import type { Slabs } from '../runtime/slabs.ts';
import type { Trace } from '../runtime/tracing.ts';
import type { StoreEvent } from '../store/events.ts';
import type { SharedBlobs } from '../store/shared-blobs.ts';
import type { Checks } from './checks.ts';
import type { PrefetchEvent } from './events.ts';

/** What the use cases work with. */
export interface PullParts {
  tags: TagRecords;
  links: Links;
  manifests: Manifests;
  referrers: ReferrersRecords;
  repositories: Repositories;
  usage: Usage;
  ingests: Ingests;
  /** Room for a blob among what may be stored; `undefined`: it may be in any case. */
  roomFor(blob: { upstream: string; isSpare: boolean }): Room | undefined;
  blobs: SharedBlobs;
  buffers: Buffers;
  /** Memory of what ingests receive. */
  slabs: Slabs;
  clock: Clock;
  /** The questions to upstreams, until what came of them is written down: nobody may wait for them any more. */
  asking: Running;
  checks: Checks;
  /** Whether a stored blob is hashed before its first read after start. */
  verifyOnRead: 'never' | 'first';
  /** Default: nobody traces. */
  trace?: Trace | undefined;
  observe(event: StoreEvent | IngestEvent | PrefetchEvent): void;
}
