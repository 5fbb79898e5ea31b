import { inTurns } from '../runtime/in-turns.ts';
import type { RemovalReason, RetentionEvent } from './events.ts';
import { forgetParents } from './forget-parents.ts';
import type { Stored } from './marks.ts';
import { type Going, goingOf, removeRecords } from './remove-records.ts';
import type { Stay } from './retention-options.ts';
import type { RetentionParts } from './retention-parts.ts';
import type { StoredRepository } from './stored-repositories.ts';
import { type Survey, surveyRepository } from './survey.ts';
import { addRemoval, addUnread, type Removal, type SweepReport } from './sweep-report.ts';

/** One look at all that is stored, and what comes of it. */
export interface SweepRun {
  reason: RemovalReason;
  dryRun: boolean;
  /** Since when uses are noted. */
  since: number;
  /** Whether what was last used then may go. */
  isOld(usedAt: number, stay: Stay): boolean;
  /** Whether an upstream's content may go now. */
  mayGo(upstream: string): Promise<boolean>;
  /** What of all content stays, and what may go. */
  marks: Stored;
  report: SweepReport;
  signal: AbortSignal;
}

/**
 * Looks at one repository, and removes the records of what goes of it; its bytes may be another's.
 *
 * @returns whether nothing of it is left
 * @throws what the stores throw; the signal's reason
 */
export async function sweepRepository(
  parts: RetentionParts,
  run: SweepRun,
  stored: StoredRepository,
): Promise<boolean> {
  const { report, signal, dryRun, reason } = run;
  const at = parts.clock.now();
  const survey = await surveyRepository(parts, stored, run);
  const { found, uses, stay, name } = survey;
  report.repositories++;
  if (!uses.isKnown) {
    addUnread(report, { upstream: stored.upstream, repository: name });
    run.marks.isPartial = true;
  }
  const isOld = (usedAt: number) => run.isOld(usedAt, stay);
  const going = await goingOf(survey, isOld);
  const anyGoes = going.tags.length + going.links.length + going.referrers.length > 0;
  const isPaused = anyGoes && !(await run.mayGo(stored.upstream));
  if (isPaused && !report.paused.includes(stored.upstream)) report.paused.push(stored.upstream);
  const counted = { tags: 0, manifests: 0, blobs: 0 };
  const removed = (removal: Pick<Removal, 'kind' | 'tagOrDigest' | 'usedAt'>) => {
    const { upstream } = stored;
    addRemoval(report, { ...removal, upstream, repository: name, reason });
    if (removal.kind !== 'file') counted[`${removal.kind}s`]++;
  };
  let isGone = false;
  if (anyGoes && !isPaused) {
    if (dryRun) await tell(going, removed);
    isGone = dryRun || (await removeRecords(parts, { going, survey, at, signal }, removed));
  }
  const isSwept = isGone || !anyGoes;
  if (isSwept && !dryRun && reason === 'unused') {
    await forgetLeftUses(parts, survey, { isOld, at, signal });
    await forgetParents(parts, survey, { ...run, isOld });
  }
  await mark(run.marks, survey, (usedAt) => isOld(usedAt) && isSwept);
  if (counted.tags + counted.manifests + counted.blobs > 0 && !dryRun) {
    const { upstream } = stored;
    const event: RetentionEvent = { type: 'repository-swept', upstream, repository: name, reason, ...counted };
    parts.observe(event);
  }
  return isGone && going.tags.length === found.tagKeys.length && going.links.length === found.links.length;
}

async function tell(
  going: Going,
  removed: (removal: Pick<Removal, 'kind' | 'tagOrDigest' | 'usedAt'>) => void,
): Promise<void> {
  await inTurns(going.tags, ({ tag, usedAt }) => removed({ kind: 'tag', tagOrDigest: tag, usedAt }));
  await inTurns(going.links, ({ kind, digest, lastUsedAt }) => {
    removed({ kind, tagOrDigest: digest, usedAt: lastUsedAt });
  });
}

/** What is named here and has no link stays, too, while what names it does. */
async function mark(marks: Stored, { found, uses }: Survey, goes: (usedAt: number) => boolean): Promise<void> {
  const { graph, links } = found;
  const isLinked = new Uint8Array(graph.marks.length);
  await inTurns(links, ({ number }) => {
    isLinked[number] = 1;
  });
  await inTurns(graph.marks.entries(), ([number, mark]) => {
    const usedAt = uses.content[number] as number;
    if (!goes(usedAt)) marks.stays(mark);
    else if (isLinked[number]) marks.goes(mark, usedAt);
  });
  await inTurns(links, ({ kind, number }) => {
    if (kind === 'manifest') marks.isManifest(graph.marks[number] as number);
  });
}

/** Uses that came in after their record had gone. */
async function forgetLeftUses(
  { usage }: RetentionParts,
  { found }: Survey,
  { isOld, at, signal }: { isOld: (usedAt: number) => boolean; at: number; signal: AbortSignal },
): Promise<void> {
  const usedAt = await usage.lastUsed(found.leftUses, signal);
  for (const [index, used] of found.leftUses.entries()) {
    const then = usedAt[index];
    if (then === undefined || isOld(then)) await usage.forget(used, { unlessUsedAfter: then ?? at, signal });
  }
}
