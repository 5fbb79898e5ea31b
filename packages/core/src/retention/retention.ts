import type { Manifests } from '../catalog/manifests.ts';
import type { Ingests } from '../ingest/ingests.ts';
import type { Digest } from '../oci/digest.ts';
import { parseDuration } from '../runtime/duration.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { followForgotten } from './forget-repository.ts';
import { createManifestNeeds } from './manifest-needs.ts';
import { watchPurges } from './purge-mark.ts';
import { createPurges, type Purges } from './purges.ts';
import { type RetentionOptions, stays } from './retention-options.ts';
import type { RetentionParts } from './retention-parts.ts';
import { createSweeps, type Sweeps } from './sweeps.ts';
import { tellOthers } from './tell-others.ts';
import { createUnlinked } from './unlinked.ts';
import type { WatchedUsage } from './watch-first-use.ts';

/** Options of retention with every default filled in. */
export type RetentionSettings = Required<Pick<RetentionOptions, 'unusedFor' | 'rules' | 'every'>>;

/** What {@link createRetention} works with. */
export interface RetentionOf
  extends Omit<
    RetentionParts,
    'needs' | 'gone' | 'unlinked' | 'isUnderWay' | 'clientOf' | 'stayOf' | 'unusedForMs' | 'manifests'
  > {
  manifests: Pick<Manifests, 'peek' | 'forget' | 'forgetAll'>;
  maxManifestBytes(): number;
  ingests: Pick<Ingests, 'isComingIn'>;
  whenUsed: WatchedUsage['whenUsed'];
  /** The metadata store itself, where purges leave their marks. */
  marks: Pick<MetadataStore, 'get'>;
  /** Whether a blob waits for the store. */
  isWaiting(digest: Digest): boolean;
  /** Those that there are now. */
  upstreams: ReadonlyMap<string, { client: Pick<Upstream, 'status' | 'ping'> }>;
}

/** What lets go of what nobody uses any more, or of what is to go whoever uses it. Closed as one. */
export function createRetention(parts: RetentionOf, settings: RetentionSettings): Sweeps & { purge: Purges['run'] } {
  const { manifests, ingests, isWaiting, upstreams } = parts;
  const { unusedFor, every } = settings;

  const all: RetentionParts = {
    ...parts,
    needs: createManifestNeeds({ ...parts, peek: manifests.peek }),
    gone: tellOthers(parts.coordinator, manifests.forget),
    unlinked: createUnlinked({ ...parts, now: () => parts.clock.now() }),
    isUnderWay: (digest) => isWaiting(digest) || ingests.isComingIn(digest),
    clientOf: (upstream) => upstreams.get(upstream)?.client,
    stayOf: stays(settings),
    unusedForMs: unusedFor === 'never' ? Number.POSITIVE_INFINITY : parseDuration(unusedFor),
  };
  const sweeps = createSweeps(all, every);
  const purges = createPurges(all);
  const stop = followForgotten(all);
  const watch = watchPurges({ metadata: parts.marks, clock: parts.clock }, () => {
    for (const records of [parts.tags, parts.links, parts.referrers, parts.repositories]) records.forget('');
    manifests.forgetAll();
  });
  // Until then there is nothing to forget.
  parts.whenUsed(watch.begin);
  return {
    ...sweeps,
    purge: purges.run,
    async close() {
      stop();
      watch.close();
      await Promise.all([sweeps.close(), purges.close()]);
    },
  };
}
