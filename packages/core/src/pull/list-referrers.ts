import { decide } from '../freshness/decide.ts';
import type { Outcome } from '../freshness/record.ts';
import { settle, type Verdict } from '../freshness/settle.ts';
import type { Digest } from '../oci/digest.ts';
import { createFlights } from '../runtime/collapse.ts';
import { traceFlights } from '../runtime/trace-flights.ts';
import type { Referrers } from '../upstream/upstream.ts';
import { isUpstreamError, UpstreamError } from '../upstream/upstream-error.ts';
import type { ReferrersAnswer } from './answer.ts';
import { createAskJointly, failureOfVerdict } from './ask-jointly.ts';
import type { PullParts } from './pull-parts.ts';
import { refused } from './refusal.ts';
import { statusOf, warningOf } from './stale.ts';
import { servedOnFailure } from './stored-tag.ts';
import { queryOf, type Target, targetKey } from './target.ts';

/** A request for what refers to a subject. */
export interface ReferrersPull {
  target: Target;
  digest: Digest;
  signal: AbortSignal;
}

/** Answers lists of referrers, unfiltered. */
export type ListReferrers = (request: ReferrersPull) => Promise<ReferrersAnswer>;

type Asked = { verdict: Verdict<Referrers>; record: { stored: boolean } | undefined; outcome: Outcome<Referrers> };

/**
 * Referrers follow the rules of tags: they change, are validated, and are served stale while the upstream fails. A
 * failure is never an empty list, which would read as "unsigned".
 */
export function createListReferrers(parts: PullParts): ListReferrers {
  const { referrers, clock } = parts;
  const flights = traceFlights(createFlights<Asked>(parts.asking), parts.trace, 'ask for referrers');
  const askJointly = createAskJointly(flights, clock, failureOfVerdict);

  async function ask({ target, digest, signal }: ReferrersPull): Promise<Asked> {
    const startedAt = clock.now();
    const { manifestWithinMs, validateWithinMs } = target.upstream;
    const before = await referrers.get(target.place, digest, signal);
    const ms = servedOnFailure(before, target, startedAt) ? validateWithinMs : manifestWithinMs;
    const outcome = await outcomeOf(target, digest, { ms, signal });
    const record = await referrers.get(target.place, digest, signal);
    const context = { rules: target.upstream.rules, startedAt, now: clock.now() };
    await referrers.update(target.place, digest, (current) => settle(current, outcome, context).record);
    return { verdict: settle(record, outcome, context).verdict, record, outcome };
  }

  async function outcomeOf(
    target: Target,
    digest: Digest,
    within: { ms: number; signal: AbortSignal },
  ): Promise<Outcome<Referrers>> {
    try {
      const query = queryOf(target, clock.monotonic(), within);
      const reply = await target.upstream.client.listReferrers({ ...query, digest });
      if (reply.kind === 'found') return { kind: 'found', value: reply.value, stored: true };
      return reply.kind === 'not-modified' ? { kind: 'absent', code: 'NAME_UNKNOWN', message: '' } : reply;
    } catch (error) {
      if (isUpstreamError(error)) return { kind: 'failed', error };
      throw error;
    }
  }

  async function askOnce(request: ReferrersPull): Promise<Asked & { collapsed: boolean }> {
    const key = `${targetKey(request.target)} ${request.digest}`;
    const { reply, collapsed } = await askJointly({
      ...request,
      key,
      ask: (signal) => ask({ ...request, signal }),
    });
    return { ...reply, collapsed };
  }

  /** What is stored, as of an upstream that could not say. */
  async function unasked({ target, digest, signal }: ReferrersPull): Promise<Asked> {
    const { key: upstream, rules } = target.upstream;
    const message = `${upstream} failed again and again and is just asked for the list of referrers`;
    const outcome: Outcome<Referrers> = {
      kind: 'failed',
      error: new UpstreamError('unavailable', message, { upstream }),
    };
    const record = await referrers.get(target.place, digest, signal);
    const now = clock.now();
    return { verdict: settle(record, outcome, { rules, startedAt: now, now }).verdict, record, outcome };
  }

  /** SEMANTICS 32: nobody who can have what is stored waits for an upstream that is not known to be back. */
  async function validate(request: ReferrersPull): Promise<Asked & { collapsed: boolean }> {
    if (request.target.upstream.client.state(request.target.place) !== 'half-open') return askOnce(request);
    const known = await unasked(request);
    if (known.verdict.kind !== 'serve') return askOnce(request);
    // The probe.
    askOnce({ ...request, signal: new AbortController().signal }).catch(() => undefined);
    return { ...known, collapsed: false };
  }

  function refusedList(target: Target, kind: 'absent' | 'denied', code: string): Error {
    return refused(target, { kind, code, of: 'name-unknown', subject: 'the list of referrers' });
  }

  return async (request) => {
    const { target, digest, signal } = request;
    const { rules } = target.upstream;
    const decision = decide(await referrers.get(target.place, digest, signal), rules, clock.now());
    if (decision.kind === 'absent' || decision.kind === 'denied') {
      throw refusedList(target, decision.kind, decision.refusal.code);
    }
    if (decision.kind === 'serve') {
      if (decision.revalidate) askOnce({ ...request, signal: new AbortController().signal }).catch(() => undefined);
      return answerOf(target, decision, { hit: true });
    }
    const asked = await (decision.kind === 'validate' ? validate(request) : askOnce(request));
    const { verdict } = asked;
    if (verdict.kind === 'failed') throw verdict.error;
    if (verdict.kind !== 'serve') throw refusedList(target, verdict.kind, verdict.refusal.code);
    return answerOf(target, verdict, statusOf(asked));
  };
}

function answerOf(
  target: Target,
  served: { value: Referrers; validatedAt: number } & Pick<Parameters<typeof warningOf>[1], 'stale'>,
  cacheStatus: ReferrersAnswer['cacheStatus'],
): ReferrersAnswer {
  const warning = warningOf(target.place.upstream, served);
  return { manifests: served.value.manifests, ...(warning !== undefined && { warning }), cacheStatus };
}
