import { keyOf } from '../catalog/keys.ts';
import type { TagOrDigest } from '../oci/name.ts';
import { attempt } from '../runtime/attempt.ts';
import { createUntilClosed } from '../runtime/until-closed.ts';
import { forgetRepository } from './forget-repository.ts';
import { purgeFiles } from './purge-files.ts';
import { markPurge } from './purge-mark.ts';
import { type PurgeRun, purgeRecords } from './purge-records.ts';
import type { PurgeOptions, PurgeReport } from './purge-report.ts';
import type { RetentionParts } from './retention-parts.ts';
import { type StoredRepository, storedRepositories } from './stored-repositories.ts';
import { repositoryKey } from './survey.ts';
import { recentProofs } from './watch-proofs.ts';

/** What is to be purged, as keys name it. */
export interface Purged {
  upstream: string;
  repository: string | undefined;
  reference: TagOrDigest | undefined;
}

/** Lets go of what an operator wants gone, whoever uses it. */
export interface Purges {
  run(what: readonly Purged[], options: PurgeOptions): Promise<PurgeReport>;
  /** Ends what runs. Never rejects. */
  close(): Promise<void>;
}

const channel = 'retention/purged';

export function createPurges(parts: RetentionParts): Purges {
  const { clock, coordinator, metadata } = parts;
  const work = createUntilClosed();

  function forget(path: string): void {
    for (const [kind, records] of [
      ['tag', parts.tags],
      ['link', parts.links],
      ['referrers', parts.referrers],
    ] as const) {
      records.forget(`${kind}/${path}`);
    }
  }

  /** The other processes of the storage have records in memory, too. Those that no message reaches find the mark of the purge. */
  async function forgetEverywhere(path: string): Promise<void> {
    forget(path);
    await coordinator?.publish(channel, path).catch(() => undefined);
  }

  const stop = coordinator?.subscribe(channel, forget);

  async function purgeOne(run: PurgeRun, { upstream, repository, reference }: Purged): Promise<void> {
    const { signal } = run;
    const all = await storedRepositories(metadata, signal);
    const meant = all.filter((stored) => isMeant(stored, { upstream, repository }));
    const proofs = recentProofs(parts.watchProofs);
    try {
      for (const stored of meant) {
        signal.throwIfAborted();
        await purgeRecords(parts, run, { stored, reference });
        await forgetEverywhere(stored.path);
        run.progress();
      }
      // Of what was not found upstream memory alone knows.
      await forgetEverywhere(`${repository === undefined ? keyOf(upstream) : keyOf(upstream, '-', repository)}/`);
      await purgeFiles(parts, run, proofs);
    } finally {
      proofs.end();
    }
    for (const key of new Set((reference ? [] : meant).map(repositoryKey))) {
      const places = all.filter((stored) => repositoryKey(stored) === key);
      await forgetRepository(parts, key, places, signal);
    }
  }

  async function purge(
    what: readonly Purged[],
    { onProgress }: PurgeOptions,
    signal: AbortSignal,
  ): Promise<PurgeReport> {
    const startedAt = clock.monotonic();
    const counts = { repositories: 0, tags: 0, manifests: 0, blobs: 0, files: 0, bytes: 0, shared: 0, left: 0 };
    const report: PurgeReport = { ...counts, durationMs: 0 };
    const progress = () => {
      report.durationMs = clock.monotonic() - startedAt;
      attempt(() => onProgress?.({ ...report }));
    };
    try {
      for (const one of what) {
        await purgeOne({ report, unlinked: new Map(), at: clock.now(), signal, progress }, one);
        progress();
      }
    } finally {
      // Behind what went: whoever finds it reads none of that again.
      await markPurge(parts);
    }
    return report;
  }

  return {
    async run(what, options) {
      return await work.run(options.signal, (signal) => purge(what, options, signal));
    },
    async close() {
      stop?.();
      await work.close();
    },
  };
}

function isMeant(stored: StoredRepository, { upstream, repository }: Pick<Purged, 'upstream' | 'repository'>): boolean {
  if (stored.upstream !== upstream) return false;
  return repository === undefined || stored.path === `${keyOf(upstream, stored.scope, repository)}/`;
}
