import type { Asker } from '../admission/asker.ts';
import type { TagRecord } from '../catalog/tag-records.ts';
import { decide, type StaleReason } from '../freshness/decide.ts';
import { settle } from '../freshness/settle.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { abortable, createFlights } from '../runtime/collapse.ts';
import { orLate } from '../runtime/or-late.ts';
import { createRecent } from '../runtime/recent.ts';
import { traceFlights } from '../runtime/trace-flights.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import type { CacheStatus, ManifestAnswer } from './answer.ts';
import { createAskJointly, failureOfVerdict } from './ask-jointly.ts';
import type { AskTag, TagOutcome } from './ask-tag.ts';
import { storedElsewhere } from './file-manifest.ts';
import { answerByTag } from './held-manifests.ts';
import { createIsComplete } from './is-complete.ts';
import type { PullParts } from './pull-parts.ts';
import { refused, refusedTag } from './refusal.ts';
import { type AskedTag, createSettleTag, type StoredImage, type TagAsking } from './settle-tag.ts';
import { statusOf, warningOf } from './stale.ts';
import { mayLose, servedOnFailure, tagRecordBefore, tagRecordOf } from './stored-tag.ts';
import type { TagTurns } from './tag-turns.ts';
import { type Target, targetKey } from './target.ts';

/** A request for a manifest by tag. `want`: its bytes (GET), or what it is (HEAD). */
export interface TagPull {
  target: Target;
  tag: string;
  want: 'bytes' | 'descriptor';
  signal: AbortSignal;
  /** Who asks. Default: the host itself. */
  asker?: Asker | undefined;
}

/** Answers manifests by tag. */
export interface PullTag {
  /** @throws ProxyCacheError for a refusal, UpstreamError where the upstream could not say and nothing can be served */
  pull(request: TagPull): Promise<ManifestAnswer>;
  /** A tag that lately stood for this digest in this repository. */
  recentTagOf(target: Target, digest: Digest): string | undefined;
}

/** What an asking needs beside the request. */
type Asking = TagPull & Pick<TagAsking, 'isUnknown' | 'isAlone'>;

type Asked = AskedTag & { collapsed: boolean };

type Served = Extract<AskedTag['verdict'], { kind: 'serve' }>;

const mostRecentTags = 10_000;
const recentForMs = 5 * 60_000;

/** @param turns of processes that share the records; without it this is the only one */
export function createPullTag(parts: PullParts, turns?: TagTurns): PullTag {
  const { manifests, clock } = parts;
  const isComplete = createIsComplete(parts);
  const settleTag = createSettleTag(parts, { isComplete, turns });
  const flights = traceFlights(createFlights<AskedTag>(parts.asking), parts.trace, 'ask for tag');
  const askJointly = createAskJointly(flights, clock, failureOfVerdict);
  const recentTags = createRecent<string, { tag: string; at: number }>(mostRecentTags);

  /** Asks the upstream, once for all who want the same at the same time, and writes down what came of it. */
  async function askOnce(request: Asking, mode: keyof AskTag, stored?: StoredImage): Promise<Asked> {
    const { target, tag, isUnknown = false, isAlone = false } = request;
    const key = `${targetKey(target)} ${tag} ${mode}${isAlone ? ' alone' : ''}`;
    const { reply: asked, collapsed } = await askJointly({
      ...request,
      key,
      ask: (signal) => settleTag({ target, tag, signal, mode, stored, isUnknown, isAlone }),
    });
    const { verdict } = asked;
    if (verdict.kind === 'serve' && verdict.stale === undefined) {
      recentTags.set(`${targetKey(target)} ${verdict.value.digest}`, { tag, at: clock.monotonic() });
    }
    return { ...asked, collapsed };
  }

  /**
   * SEMANTICS 32: with a copy stored, nobody waits longer than `validateWithin`, not for a changed image either. It is
   * fetched all the same, for whoever comes next, also when all who asked have left. Of an upstream that failed lately
   * nobody waits for an answer at all.
   */
  async function validate(request: TagPull, stored: StoredImage, before: TagRecord | undefined): Promise<Asked> {
    const { target, tag, signal } = request;
    const { key: upstream, client, validateWithinMs } = target.upstream;
    const state = client.state(target.place);
    const work = askOnce({ ...request, signal: new AbortController().signal }, 'validate', stored);
    const without = async (code: 'timeout' | 'unavailable', why: string) => {
      const error = new UpstreamError(code, `${upstream} ${why} whether ${tag} is still right`, { upstream });
      // News that the store does not have yet are told to nobody: then what was known before counts.
      const isSettled = parts.tags.lookup(target.place, tag)() !== undefined;
      const record = isSettled ? await tagRecordOf(parts, request) : before;
      // Too old to be served: then it is as if nothing were stored.
      return askedInVain(target, record, error) ?? work;
    };
    if (!stored.servesStale) return abortable(work, signal);
    if (state === 'half-open') {
      // The validation is the probe, and takes as long as it takes; the host is not known to be back.
      work.catch(() => undefined);
      return abortable(without('unavailable', 'failed again and again and is just asked'), signal);
    }
    const late = () => without('timeout', 'did not answer in time');
    return abortable(orLate(work, { clock, ms: validateWithinMs, late }), signal);
  }

  /** What is served where nobody could say, by what is known; `undefined`: nothing is. */
  function askedInVain(target: Target, record: TagRecord | undefined, error: UpstreamError): Asked | undefined {
    const outcome: TagOutcome = { kind: 'failed', error };
    const now = clock.now();
    const { verdict } = settle(record, outcome, { rules: target.upstream.rules, startedAt: now, now });
    return verdict.kind === 'serve' ? { verdict, record, outcome, collapsed: false } : undefined;
  }

  async function answerOf(
    request: TagPull,
    served: {
      value: Descriptor;
      validatedAt: number;
      stale?: StaleReason | undefined;
      bytes?: Uint8Array | undefined;
      /** Of an upstream that could not say. */
      error?: unknown;
    },
    cacheStatus: CacheStatus,
  ): Promise<ManifestAnswer | undefined> {
    const bytes =
      request.want === 'bytes'
        ? (served.bytes ?? (await manifests.load(served.value.digest, request.signal)))
        : undefined;
    if (request.want === 'bytes' && !bytes) return undefined;
    return answerByTag({ ...served, bytes, warning: warningOf(request.target.place.upstream, served) }, cacheStatus);
  }

  /** SEMANTICS 12: while the upstream fails, an image that cannot be pulled whole loses to the last one that can. */
  async function pullable({ target, signal }: TagPull, record: TagRecord | undefined, served: Served): Promise<Served> {
    const fallback = record?.lastComplete;
    if (!fallback || (await isComplete(target, served.value.digest, signal))) return served;
    const isWhole = await isComplete(target, fallback.digest, signal);
    return isWhole ? { ...served, value: fallback, stale: 'failed' } : served;
  }

  async function answerAsked(request: TagPull, asked: Asked): Promise<ManifestAnswer | undefined> {
    const { verdict, outcome, record } = asked;
    if (verdict.kind === 'failed') throw verdict.error;
    if (verdict.kind !== 'serve') throw refusedTag(request.target, request.tag, verdict);
    const isDoubtful = verdict.stale === 'failed' || (!outcome && mayLose(record, request.target));
    const served = isDoubtful ? await pullable(request, record, verdict) : verdict;
    const bytes = outcome?.kind === 'found' && outcome.value.digest === served.value.digest ? outcome.bytes : undefined;
    const error = outcome?.kind === 'failed' ? outcome.error : undefined;
    return answerOf(request, { ...served, bytes, error }, statusOf({ ...asked, verdict: served }));
  }

  async function fetchAnew(request: Asking): Promise<ManifestAnswer> {
    const asked = await askOnce(request, request.want === 'bytes' ? 'fetch' : 'look');
    const answer = await answerAsked(request, asked);
    if (answer) return answer;
    // Stored by the record, gone from the store: nothing is here after all.
    if (turns && !request.isAlone) return fetchAnew({ ...request, isAlone: true });
    throw withoutCopy(request, asked.outcome);
  }

  /** What is here and wants its proof anew: a HEAD is one, and free where a GET counts against a quota. */
  async function expiredValue({ target, signal }: TagPull, record: TagRecord | undefined) {
    const isNo = record?.absent !== undefined || record?.denied !== undefined;
    if (!record?.value || isNo || target.upstream.linkValidForMs === Number.POSITIVE_INFINITY) return undefined;
    return (await storedElsewhere(parts, record.value, signal)) && record.value;
  }

  async function answerKnown(request: TagPull): Promise<ManifestAnswer> {
    const { target, tag } = request;
    const record = await tagRecordOf(parts, request);
    const now = clock.now();
    const decision = decide(record, target.upstream.rules, now);
    const stored = (value: Descriptor): StoredImage => ({
      value,
      servesStale: servedOnFailure(record, target, now) !== undefined,
    });
    switch (decision.kind) {
      case 'serve': {
        if (decision.revalidate) {
          const background = { ...request, signal: new AbortController().signal };
          askOnce(background, 'validate', stored(decision.value)).catch(() => undefined);
        }
        const verdict: Served = { ...decision, stored: true };
        const answer = await answerAsked(request, { verdict, record, outcome: undefined, collapsed: false });
        return answer ?? fetchAnew({ ...request, isAlone: true });
      }
      case 'validate': {
        const answer = await answerAsked(request, await validate(request, stored(decision.value), record));
        return answer ?? fetchAnew({ ...request, isAlone: true });
      }
      case 'fetch': {
        const value = await expiredValue(request, record);
        const asked = value && (await validate(request, { value, servesStale: false }, record));
        const answer = asked && (await answerAsked(request, asked));
        return answer ?? fetchAnew({ ...request, isUnknown: record === undefined });
      }
      case 'absent':
      case 'denied':
        throw refusedTag(target, tag, decision);
    }
  }

  /** SEMANTICS 32 again: news of a tag that a slow store does not have yet keep nobody who can have the copy of before. */
  function answerInTime(request: TagPull): Promise<ManifestAnswer> {
    const { target, tag } = request;
    const { key: upstream, validateWithinMs } = target.upstream;
    const answer = answerKnown(request);
    const late = async () => {
      const message = `whether ${tag} of ${upstream} is still right was not known in time`;
      // News that have come to the store meanwhile count.
      const record = await (tagRecordBefore(parts, request) ?? tagRecordOf(parts, request));
      const asked = askedInVain(target, record, new UpstreamError('timeout', message, { upstream }));
      return (asked && (await answerAsked(request, asked))) ?? answer;
    };
    return orLate(answer, { clock, ms: validateWithinMs, late });
  }

  return {
    pull: (request) =>
      parts.tags.before(request.target.place, request.tag) ? answerInTime(request) : answerKnown(request),
    recentTagOf(target, digest) {
      const recent = recentTags.get(`${targetKey(target)} ${digest}`);
      return recent && clock.monotonic() - recent.at < recentForMs ? recent.tag : undefined;
    },
  };
}

function withoutCopy({ target, tag }: TagPull, outcome: TagOutcome | undefined): unknown {
  if (outcome?.kind === 'failed') return outcome.error;
  const kind = outcome?.kind === 'denied' ? 'denied' : 'absent';
  const code = outcome?.kind === 'absent' ? outcome.code : '';
  return refused(target, { kind, code, of: 'manifest-unknown', subject: `tag ${tag}` });
}
