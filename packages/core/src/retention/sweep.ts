import { turn } from '../runtime/turn.ts';
import { forgetRepository } from './forget-repository.ts';
import { createMarks } from './marks.ts';
import { createReachable } from './reachable.ts';
import { removeFiles } from './remove-files.ts';
import type { RetentionParts } from './retention-parts.ts';
import { type StoredRepository, storedRepositories } from './stored-repositories.ts';
import { repositoryKey } from './survey.ts';
import { addRemoval, type SweepReport } from './sweep-report.ts';
import { type SweepRun, sweepRepository } from './sweep-repository.ts';
import { recentProofs } from './watch-proofs.ts';

/** How a sweep goes. */
export interface SweepHow {
  dryRun: boolean;
  signal: AbortSignal;
  /** Called after each step. */
  progress(): void;
}

/** What several processes know of each other's uses may be so much older than what they know themselves. */
const otherProcessesMs = 7 * 60_000;

/** Removes what was not used for as long as the rules say. @throws what the stores throw; the signal's reason */
export async function sweep(parts: RetentionParts, report: SweepReport, how: SweepHow): Promise<void> {
  const { clock, coordinator, unusedForMs: orphansUnusedForMs } = parts;
  const now = clock.now();
  const spareMs = coordinator ? otherProcessesMs : 0;
  const since = await parts.usage.since(how.signal);
  await runSweep(parts, report, {
    ...how,
    reason: 'unused',
    since,
    isOld: (usedAt, { unusedForMs }) => usedAt + unusedForMs + spareMs <= now,
    mayGo: createReachable({ ...parts, signal: how.signal }),
    // Of bytes without records, all records of them may have been lost: they may have been in use until then.
    orphanGoes: (storedAt) => Math.max(storedAt, since) + orphansUnusedForMs + spareMs <= now,
  });
}

/** Looks at each repository and removes its records, then the bytes that no repository has any more. */
async function runSweep(
  parts: RetentionParts,
  report: SweepReport,
  how: SweepHow & Pick<SweepRun, 'reason' | 'since' | 'isOld' | 'mayGo'> & { orphanGoes(storedAt: number): boolean },
): Promise<void> {
  const { signal, dryRun, reason, progress } = how;
  const proofs = recentProofs(parts.watchProofs);
  try {
    const marks = createMarks();
    const run: SweepRun = { ...how, marks, report };
    const repositories = await storedRepositories(parts.metadata, signal);
    const [emptied, left] = [new Map<string, StoredRepository[]>(), new Set<string>()];
    for (const stored of repositories) {
      signal.throwIfAborted();
      const key = repositoryKey(stored);
      if (await sweepRepository(parts, run, stored)) emptied.set(key, [...(emptied.get(key) ?? []), stored]);
      else left.add(key);
      progress();
      await turn();
    }
    if (!dryRun) {
      for (const [key, places] of emptied) if (!left.has(key)) await forgetRepository(parts, key, places, signal);
    }
    const useless = {
      goesAt(mark: number, storedAt: number) {
        if (marks.wasSeen(mark)) return marks.goneAt(mark);
        if (marks.isPartial) return undefined;
        return parts.unlinked.has(mark, storedAt) || how.orphanGoes(storedAt) ? storedAt : undefined;
      },
      isManifest: marks.wasManifest,
      wasSeen: marks.wasSeen,
      hasManifests: marks.hasManifests(),
    };
    await removeFiles(parts, { useless, proofs, dryRun, signal }, ({ digest, size, usedAt }) => {
      addRemoval(report, { kind: 'file', tagOrDigest: digest, bytes: size, usedAt, reason });
      progress();
    });
  } finally {
    proofs.end();
  }
}
