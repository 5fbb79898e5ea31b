import { inTurns } from '../runtime/in-turns.ts';
import { turn } from '../runtime/turn.ts';
import { ageThatFrees } from './age-that-frees.ts';
import { markOf } from './graph.ts';
import { isHeld } from './is-held.ts';
import { createMarks } from './marks.ts';
import { removeFiles } from './remove-files.ts';
import type { RetentionParts } from './retention-parts.ts';
import { type StoredRepository, storedRepositories } from './stored-repositories.ts';
import { surveyRepository } from './survey.ts';
import { addRemoval, type SweepReport } from './sweep-report.ts';
import { sweepRepository } from './sweep-repository.ts';
import { recentProofs } from './watch-proofs.ts';

/** Room that is wanted. */
export interface WantedRoom {
  bytes: number;
  /** Where so many cannot go: how many have to, or none goes. Default: all that can. */
  least?: number | undefined;
  /** Of what this upstream's repositories have. Default: of all that is stored. */
  upstream?: string | undefined;
  signal: AbortSignal;
}

/**
 * Removes what was used the longest ago, image by image, until so many bytes are gone, or nothing is left that may go: tags that
 * rules keep stay. What would not be enough for `least` all together stays, too.
 *
 * @returns the bytes that went; of an upstream those that it has no more, also where another has them still
 * @throws what the stores throw; the signal's reason
 */
export type Evict = (room: WantedRoom) => Promise<number>;

/** What all that is stored weighs, and how old it is. */
interface Weighed {
  /** Last uses by mark. */
  usedAt: Map<number, number>;
  /** What other upstreams have. */
  elsewhere: Set<number>;
  /** Whether something may need what is not known. */
  isPartial: boolean;
  /** Those that may go, each with the oldest that it has. */
  repositories: { stored: StoredRepository; oldest: number }[];
}

export async function evict(
  parts: RetentionParts,
  report: SweepReport,
  { bytes, least, upstream, signal }: WantedRoom,
): Promise<number> {
  const proofs = recentProofs(parts.watchProofs);
  try {
    const since = await parts.usage.since(signal);
    const weighed = await weigh(parts, { since, upstream, signal });
    const { cut, sizes } = await findCut(parts, weighed, { bytes, least, upstream, signal });
    if (cut === undefined) return 0;
    const marks = createMarks();
    const run = {
      reason: 'max-bytes',
      dryRun: false,
      since,
      isOld: (usedAt: number) => usedAt < cut,
      mayGo: async () => true,
      marks,
      report,
      signal,
    } as const;
    for (const { stored, oldest } of weighed.repositories) {
      if (oldest >= cut) continue;
      await sweepRepository(parts, run, stored);
      await turn();
    }
    let freed = 0;
    const useless = {
      goesAt(mark: number, storedAt: number) {
        const known = weighed.usedAt.get(mark);
        if (weighed.elsewhere.has(mark) || (known !== undefined && known >= cut)) return undefined;
        if (marks.wasSeen(mark)) return marks.goneAt(mark);
        const isOrphan = known === undefined && upstream === undefined && !marks.isPartial && !weighed.isPartial;
        return isOrphan && (storedAt < cut || parts.unlinked.has(mark, storedAt)) ? storedAt : undefined;
      },
      isManifest: marks.wasManifest,
      wasSeen: (mark: number) => marks.wasSeen(mark) || weighed.usedAt.has(mark) || weighed.elsewhere.has(mark),
      hasManifests: marks.hasManifests(),
    };
    await removeFiles(parts, { useless, proofs, dryRun: false, signal }, ({ digest, size, usedAt }) => {
      addRemoval(report, { kind: 'file', tagOrDigest: digest, bytes: size, usedAt, reason: 'max-bytes' });
      freed += size;
    });
    if (upstream === undefined) return freed;
    for (const [mark, size] of sizes) {
      if (weighed.elsewhere.has(mark) && marks.goneAt(mark) !== undefined) freed += size;
    }
    return freed;
  } finally {
    proofs.end();
  }
}

async function weigh(
  parts: RetentionParts,
  { since, upstream, signal }: { since: number; upstream: string | undefined; signal: AbortSignal },
): Promise<Weighed> {
  const weighed: Weighed = { usedAt: new Map(), elsewhere: new Set(), isPartial: false, repositories: [] };
  for (const stored of await storedRepositories(parts.metadata, signal)) {
    // What could not be read may need anything, however old it is.
    const { found, uses } = await surveyRepository(parts, stored, { since, isOld: () => false, signal });
    if (!uses.isKnown) weighed.isPartial = true;
    const isOther = upstream !== undefined && stored.upstream !== upstream;
    let oldest = Number.POSITIVE_INFINITY;
    await inTurns(found.graph.marks.entries(), ([number, mark]) => {
      const usedAt = uses.content[number] as number;
      if (isOther) weighed.elsewhere.add(mark);
      else if (usedAt > Number.NEGATIVE_INFINITY) {
        oldest = Math.min(oldest, usedAt);
        weighed.usedAt.set(mark, Math.max(weighed.usedAt.get(mark) ?? usedAt, usedAt));
      }
    });
    for (const usedAt of uses.tags) if (!isOther) oldest = Math.min(oldest, usedAt);
    if (!isOther) weighed.repositories.push({ stored, oldest });
    await turn();
  }
  return weighed;
}

const listedPerTurn = 1_024;

/** Before when all that was used last is to go. */
async function findCut(
  parts: RetentionParts,
  { usedAt, elsewhere }: Weighed,
  { bytes, least, upstream, signal }: WantedRoom,
): Promise<{ cut: number | undefined; sizes: Map<number, number> }> {
  const ages: number[] = [];
  const weights: number[] = [];
  const sizes = new Map<number, number>();
  let all = 0;
  let listed = 0;
  for await (const { digest, size, storedAt } of parts.blobs.digests({ signal })) {
    if (++listed % listedPerTurn === 0) await turn();
    const mark = markOf(digest);
    const known = usedAt.get(mark);
    if (upstream !== undefined && known === undefined) continue;
    if (upstream !== undefined && elsewhere.has(mark)) sizes.set(mark, size);
    // What nothing has any more goes before all else.
    const at = known ?? (parts.unlinked.has(mark, storedAt) ? 0 : storedAt);
    if (at === Number.POSITIVE_INFINITY || isHeld(parts, digest)) continue;
    ages.push(at);
    weights.push(size);
    all += size;
  }
  if (all >= bytes || least === undefined) return { cut: ageThatFrees(ages, weights, bytes), sizes };
  return { cut: all >= least ? ageThatFrees(ages, weights, least) : undefined, sizes };
}
