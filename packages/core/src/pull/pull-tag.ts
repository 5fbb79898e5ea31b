import { LRUCache } from 'lru-cache';
import type { TagRecord } from '../catalog/tag-records.ts';
import { decide, type StaleReason } from '../freshness/decide.ts';
import { settle, type Verdict } from '../freshness/settle.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { abortable, createFlights } from '../runtime/collapse.ts';
import { orLate } from '../runtime/or-late.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import type { CacheStatus, ManifestAnswer } from './answer.ts';
import { type AskTag, createAskTag, type TagOutcome } from './ask-tag.ts';
import { answerByTag } from './held-manifests.ts';
import { createIsComplete } from './is-complete.ts';
import type { PullParts } from './pull-parts.ts';
import { refused, refusedTag } from './refusal.ts';
import { statusOf, warningOf } from './stale.ts';
import { servedOnFailure, tagRecordOf } from './stored-tag.ts';
import { type Target, targetKey } from './target.ts';

/** A request for a manifest by tag. `want`: its bytes (GET), or what it is (HEAD). */
export interface TagPull {
  target: Target;
  tag: string;
  want: 'bytes' | 'descriptor';
  signal: AbortSignal;
}

/** Answers manifests by tag. */
export interface PullTag {
  /** @throws ProxyCacheError for a refusal, UpstreamError where the upstream could not say and nothing can be served */
  pull(request: TagPull): Promise<ManifestAnswer>;
  /** A tag that lately stood for this digest in this repository. */
  recentTagOf(target: Target, digest: Digest): string | undefined;
}

/** `isUnknown`: there was no record of the tag when it was asked for. */
type Asking = TagPull & { isUnknown?: boolean };

/** The stored image to validate, and whether it may be answered with if the upstream fails. */
type Stored = { value: Descriptor; servesStale: boolean };

type Asked = { verdict: Verdict<Descriptor>; record: TagRecord | undefined; outcome: TagOutcome };

const mostRecentTags = 10_000;
const recentForMs = 5 * 60_000;

export function createPullTag(parts: PullParts): PullTag {
  const { tags, manifests, clock } = parts;
  const ask: AskTag = createAskTag(parts);
  const isComplete = createIsComplete(parts);
  const flights = createFlights<Asked>();
  const recentTags = new LRUCache<string, { tag: string; at: number }>({ max: mostRecentTags });

  /** Asks the upstream, once for all who want the same at the same time, and writes down what came of it. */
  async function askOnce(
    request: Asking,
    mode: keyof AskTag,
    stored?: Stored,
  ): Promise<Asked & { collapsed: boolean }> {
    const key = `${targetKey(request.target)} ${request.tag} ${mode}`;
    const collapsed = flights.has(key);
    const asked = await flights.join(
      key,
      (signal) => askAndSettle({ ...request, signal }, mode, stored),
      request.signal,
    );
    return { ...asked, collapsed };
  }

  async function askAndSettle(request: Asking, mode: keyof AskTag, stored?: Stored): Promise<Asked> {
    const { target, tag, signal, isUnknown } = request;
    const startedAt = clock.now();
    const outcome =
      mode === 'validate' && stored
        ? await ask.validate(target, tag, stored, signal)
        : await ask[mode === 'look' ? 'look' : 'fetch'](target, tag, signal);
    // What is found anew is served whatever has been learnt meanwhile; the update looks at that.
    const isNew = outcome.kind === 'found' && isUnknown;
    const record = isNew ? undefined : await tagRecordOf(parts, { target, tag, signal });
    const context = { rules: target.upstream.rules, startedAt, now: clock.now() };
    const { verdict } = settle(record, outcome, context);

    const replaced = outcome.kind === 'found' && record?.stored && record.value?.digest !== outcome.value.digest;
    const complete = replaced && record.value && (await isComplete(target, record.value.digest, signal));
    const lastComplete = complete ? record.value : undefined;
    const filed = outcome.kind === 'found' ? outcome.filed : undefined;
    // A tag that stood for another image stands for this one only when it is stored: a crash must not cost both.
    if (record?.value) await filed;
    const saved = tags.update(target.place, tag, (current) => {
      const next = settle(current, outcome, context).record;
      return next && lastComplete ? { ...next, lastComplete } : next;
    });
    // A mere "still right" is in memory already; the answer need not wait for the disk.
    if (outcome.kind !== 'found' || outcome.value.digest !== record?.value?.digest) await saved;
    await filed;
    if (outcome.kind === 'found') {
      recentTags.set(`${targetKey(target)} ${outcome.value.digest}`, { tag, at: clock.monotonic() });
    }
    return { verdict, record, outcome };
  }

  /**
   * SEMANTICS 32: with a copy stored, nobody waits longer than `validateWithin`, not for a changed image either. It is
   * fetched all the same, for whoever comes next, also when all who asked have left. Of an upstream that failed lately
   * nobody waits for an answer at all.
   */
  async function validate(request: TagPull, stored: Stored): Promise<Asked & { collapsed: boolean }> {
    const { target, tag, signal } = request;
    const { key: upstream, client, validateWithinMs } = target.upstream;
    const state = client.state(target.place);
    const work = askOnce({ ...request, signal: new AbortController().signal }, 'validate', stored);
    const without = async (code: 'timeout' | 'unavailable', why: string) => {
      const error = new UpstreamError(code, `${upstream} ${why} whether ${tag} is still right`, { upstream });
      const outcome: TagOutcome = { kind: 'failed', error };
      const record = await tagRecordOf(parts, request);
      const now = clock.now();
      const { verdict } = settle(record, outcome, { rules: target.upstream.rules, startedAt: now, now });
      // Too old to be served: then it is as if nothing were stored.
      return verdict.kind === 'serve' ? { verdict, record, outcome, collapsed: false } : work;
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
  async function pullable({ target, signal }: TagPull, asked: Asked, value: Descriptor): Promise<Descriptor> {
    const fallback = asked.record?.lastComplete;
    if (!fallback || (await isComplete(target, value.digest, signal))) return value;
    return (await isComplete(target, fallback.digest, signal)) ? fallback : value;
  }

  async function answerAsked(
    request: TagPull,
    asked: Asked & { collapsed: boolean },
  ): Promise<ManifestAnswer | undefined> {
    const { verdict, outcome } = asked;
    if (verdict.kind === 'failed') throw verdict.error;
    if (verdict.kind !== 'serve') throw refusedTag(request.target, request.tag, verdict);
    const value = verdict.stale === 'failed' ? await pullable(request, asked, verdict.value) : verdict.value;
    const bytes = outcome.kind === 'found' && outcome.value.digest === value.digest ? outcome.bytes : undefined;
    const error = outcome.kind === 'failed' ? outcome.error : undefined;
    return answerOf(request, { ...verdict, value, bytes, error }, statusOf(asked));
  }

  async function fetchAnew(request: Asking): Promise<ManifestAnswer> {
    const asked = await askOnce(request, request.want === 'bytes' ? 'fetch' : 'look');
    const answer = await answerAsked(request, asked);
    if (answer) return answer;
    // Stored by the record, gone from the store: nothing is here after all.
    throw withoutCopy(request, asked.outcome);
  }

  return {
    async pull(request) {
      const { target, tag } = request;
      const record = await tagRecordOf(parts, request);
      const now = clock.now();
      const decision = decide(record, target.upstream.rules, now);
      const stored = (value: Descriptor): Stored => ({
        value,
        servesStale: servedOnFailure(record, target, now) !== undefined,
      });
      switch (decision.kind) {
        case 'serve': {
          if (decision.revalidate) {
            const background = { ...request, signal: new AbortController().signal };
            askOnce(background, 'validate', stored(decision.value)).catch(() => undefined);
          }
          const answer = await answerOf(request, decision, { hit: true });
          return answer ?? fetchAnew(request);
        }
        case 'validate': {
          const answer = await answerAsked(request, await validate(request, stored(decision.value)));
          return answer ?? fetchAnew(request);
        }
        case 'fetch':
          return fetchAnew({ ...request, isUnknown: record === undefined });
        case 'absent':
        case 'denied':
          throw refusedTag(target, tag, decision);
      }
    },
    recentTagOf(target, digest) {
      const recent = recentTags.get(`${targetKey(target)} ${digest}`);
      return recent && clock.monotonic() - recent.at < recentForMs ? recent.tag : undefined;
    },
  };
}

function withoutCopy({ target, tag }: TagPull, outcome: TagOutcome): unknown {
  if (outcome.kind === 'failed') return outcome.error;
  const kind = outcome.kind === 'denied' ? 'denied' : 'absent';
  const code = outcome.kind === 'absent' ? outcome.code : '';
  return refused(target, { kind, code, of: 'manifest-unknown', subject: `tag ${tag}` });
}
