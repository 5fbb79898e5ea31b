import type { Fence } from '../catalog/record-changes.ts';
import { isNewsOfTag, type TagRecord } from '../catalog/tag-records.ts';
import { storedValue } from '../freshness/record.ts';
import { settle, type Verdict } from '../freshness/settle.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type AskTag, createAskTag, type TagOutcome } from './ask-tag.ts';
import type { IsComplete } from './is-complete.ts';
import type { PullParts } from './pull-parts.ts';
import { latestTagRecordOf, servedOnFailure, type TagQuery, tagRecordOf } from './stored-tag.ts';
import type { TagTurns } from './tag-turns.ts';
import { withManifestWithin } from './target.ts';

/** The stored image to validate, and whether it may be answered with if the upstream fails. */
export type StoredImage = Parameters<AskTag['validate']>[2];

/** What an upstream is to be asked about a tag. */
export interface TagAsking extends TagQuery {
  mode: keyof AskTag;
  /** Of `validate`. */
  stored?: StoredImage | undefined;
  /** There was no record of the tag when it was asked for. */
  isUnknown?: boolean;
  /** What other processes learn meanwhile does not count: it was looked at, and could not be served. */
  isAlone?: boolean;
}

/** What came of it. */
export interface AskedTag {
  verdict: Verdict<Descriptor>;
  /** What was known before. */
  record: TagRecord | undefined;
  /** `undefined` where another process has asked. */
  outcome: TagOutcome | undefined;
  /** Another process asked while this one waited. */
  waited?: boolean;
}

/** Asks an upstream about a tag, and writes down what came of it. */
export function createSettleTag(
  parts: PullParts,
  { isComplete, turns }: { isComplete: IsComplete; turns: TagTurns | undefined },
): (asking: TagAsking) => Promise<AskedTag> {
  const { tags, clock } = parts;
  const ask: AskTag = createAskTag(parts);

  /** `saved`: the store has it. */
  async function settled(asking: TagAsking, fence?: Fence): Promise<{ asked: AskedTag; saved: Promise<void> }> {
    const { target, tag, mode, stored, signal, isUnknown } = asking;
    const startedAt = clock.now();
    const outcome =
      mode === 'validate' && stored
        ? await ask.validate(target, tag, stored, signal)
        : await ask[mode === 'look' ? 'look' : 'fetch'](target, tag, signal);
    // What is found anew is served whatever has been learnt meanwhile; the update looks at that.
    const isNew = outcome.kind === 'found' && isUnknown;
    // While the upstream fails, what another process wrote down last is served, as by that one.
    const recordOf = turns && outcome.kind === 'failed' ? latestTagRecordOf : tagRecordOf;
    const record = isNew ? undefined : await recordOf(parts, { target, tag, signal });
    const context = { rules: target.upstream.rules, startedAt, now: clock.now() };
    const { verdict, record: next } = settle(record, outcome, context);
    const isNews = !record || !next || isNewsOfTag(record, { ...next, saidTo: target.place.generation });

    const replaced = outcome.kind === 'found' && record?.stored && record.value?.digest !== outcome.value.digest;
    const complete = replaced && record.value && (await isComplete(target, record.value.digest, signal));
    const lastComplete = complete ? record.value : undefined;
    const filed = outcome.kind === 'found' ? outcome.filed : undefined;
    // A tag that stood for another image stands for this one only when it is stored: a crash must not cost both. Other
    // processes take a record at its word, and would each fetch what the store does not have yet.
    if (record?.value || turns) await filed;
    const saved = tags.update({ place: target.place, tag, fence }, (current) => {
      const latest = settle(current, outcome, context).record;
      const { generation: saidTo } = target.place;
      return latest && { ...latest, saidTo, ...(lastComplete && { lastComplete }) };
    });
    // A mere "still right" is in memory already; the answer need not wait for the disk.
    if (outcome.kind !== 'found' || isNews) await saved;
    await filed;
    return { asked: { verdict, record, outcome }, saved };
  }

  /** Asks, unless another of the processes that share their records has just done so. */
  async function inTurn(asking: TagAsking, all: TagTurns): Promise<AskedTag> {
    const { target, mode, isUnknown = false, stored } = asking;
    const { validateWithinMs, manifestWithinMs } = target.upstream;
    const withinMs = stored?.servesStale ? validateWithinMs : manifestWithinMs;
    const turn = await all.take({ ...asking, isUnknown, needsStored: mode !== 'look', withinMs });
    if (turn.kind === 'told') {
      return { verdict: turn.verdict, record: turn.known, outcome: undefined, waited: turn.waited };
    }
    const { known } = turn;
    // What came into the store since memory had the record is what is to be validated.
    const value = known && storedValue(known)?.value;
    const image = value && { value, servesStale: servedOnFailure(known, target, clock.now()) !== undefined };
    const leftMs = Math.max(manifestWithinMs - turn.waitedMs, 1);
    let ended: { isShared: boolean; saved: Promise<void> } | undefined;
    try {
      const { asked, saved } = await settled(
        {
          ...asking,
          ...(turn.waitedMs > 0 && { target: withManifestWithin(target, leftMs) }),
          ...(image && { mode: 'validate', stored: image }),
          isUnknown: known === undefined,
        },
        turn.fence,
      );
      const { kind } = asked.outcome ?? {};
      // Of what nothing is known a "no" is remembered by each process for itself.
      ended = { isShared: kind === 'found' || (kind !== 'failed' && known?.value !== undefined), saved };
      return asked;
    } finally {
      turn.end(ended?.isShared ?? false, ended?.saved);
    }
  }

  return async (asking) => {
    // Where nothing stays fresh, each pull asks: what another process learnt before it is as old as what this one knows.
    const { mode, rules } = asking.target.upstream;
    const isShared = turns && !asking.isAlone && mode !== 'offline' && rules.freshForMs > 0;
    return isShared ? inTurn(asking, turns) : (await settled(asking)).asked;
  };
}
