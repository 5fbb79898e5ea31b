import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { pause } from '../runtime/pause.ts';
import type { Endpoint, Matter } from './endpoint.ts';
import type { UpstreamOperation } from './events.ts';
import type { Finish, Race } from './race.ts';
import type { Query, Reply, Upstream } from './upstream.ts';
import { isUpstreamError, UpstreamError, type UpstreamErrorCode } from './upstream-error.ts';

/** A question for the first endpoint that can answer it. */
export interface EndpointQuestion<Q, T> {
  operation: UpstreamOperation;
  matter: Matter;
  query: Q;
  /** In the order of preference. */
  endpoints: readonly Endpoint[];
  ask(client: Upstream, query: Q): Promise<Reply<T>>;
  /** Whether to wait for a host that is known to be down until the deadline, in any case. */
  patient?: boolean;
  /** Whether a reply means that there is nothing. Default: all that is not found. */
  isNothing?: (reply: Reply<T>) => boolean;
  /** Lets go of a reply that came after another. Default: there is nothing to let go of. */
  drop?: (reply: Reply<T>) => void;
}

/** A reply and who gave it. */
export interface Answered<T> {
  reply: Reply<T>;
  endpoint: Endpoint;
}

/** A query, also one that is about no repository. */
export type AnyQuery = Omit<Query, 'repository'> & { repository?: string };

/** How it stands with an endpoint that did not answer. */
export interface Failure {
  /** What it said last, or what it said before it was known to be down: that tells more. */
  error: UpstreamError | undefined;
  latest: UpstreamError | undefined;
  /** Whether `at` and `isRetry` are those of `latest`. */
  isPlanned: boolean;
  /** How often it was asked. */
  tries: number;
  /** `clock.monotonic()` ms from which it may be asked again. */
  at: number;
  /** Whether it is a retry then, or else a look whether the host that failed is back. */
  isRetry: boolean;
}

/** How far a question has come. */
export interface Course<T> {
  failures: Map<Endpoint, Failure>;
  race: Race<Endpoint, Reply<T>>;
  /** Those under way that have had their share of the time: they go on, beside others. */
  overdue: Set<Endpoint>;
  /** Whether to ask it now, as far as its failures go. */
  isDue(endpoint: Endpoint): boolean;
  /** Notes that a request was sent to somebody. */
  sent(): void;
}

const unsent: ReadonlySet<UpstreamErrorCode> = new Set(['unavailable', 'offline', 'busy', 'address-refused']);
/** No instant. */
export const never: number = Number.POSITIVE_INFINITY;

/** The steps of asking several endpoints. */
export interface Rounds {
  /**
   * Asks one after the other, those that failed lately last; over when all have failed, or each has had its share of the
   * time and some may be asked again.
   */
  ask<Q extends AnyQuery, T>(question: EndpointQuestion<Q, T>, course: Course<T>): Promise<Answered<T> | undefined>;
  /** The first answer of those under way within so many ms. `untilOver`: whether to wait on although one failed. */
  answerWithin<Q extends AnyQuery, T>(
    ms: number,
    question: EndpointQuestion<Q, T>,
    course: Course<T>,
    how?: { untilOver?: boolean },
  ): Promise<Answered<T> | undefined>;
  /** Ends all waits with this. */
  close(reason: Error): void;
}

/** Makes the steps of asking one upstream's endpoints. @param parts.key the upstream's */
export function createRounds({ key, clock }: { key: string; clock: Clock }): Rounds {
  const waits = new Set<AbortController>();

  async function answerWithin<Q extends AnyQuery, T>(
    ms: number,
    question: EndpointQuestion<Q, T>,
    course: Course<T>,
    { untilOver = false } = {},
  ): Promise<Answered<T> | undefined> {
    const until = clock.monotonic() + ms;
    for (;;) {
      const finish = await firstWithin(Math.max(until - clock.monotonic(), 0), question.query.signal, course.race);
      const answered = finish && settle(finish, question, course);
      // What is planned for an instant is due at that instant, and not at any before.
      if (answered || (finish ? !untilOver : clock.monotonic() >= until)) return answered;
    }
  }

  async function firstWithin<T>(
    ms: number,
    signal: AbortSignal,
    race: Race<Endpoint, T>,
  ): Promise<Finish<Endpoint, T> | undefined> {
    const isRunning = race.running().length > 0;
    if (isRunning && ms === never) return await abortable(race.first(), signal);
    const waiting = new AbortController();
    waits.add(waiting);
    try {
      const over = pause(ms, clock, waiting.signal).then(() => undefined);
      return await abortable(isRunning ? Promise.race([race.first(), over]) : over, signal);
    } finally {
      waits.delete(waiting);
      waiting.abort();
    }
  }

  async function askRound<Q extends AnyQuery, T>(
    question: EndpointQuestion<Q, T>,
    course: Course<T>,
  ): Promise<Answered<T> | undefined> {
    const { matter, query, endpoints } = question;
    const { failures, race, overdue } = course;
    const running = new Set(race.running());
    const due = byHealth(endpoints, matter).filter((endpoint) => !running.has(endpoint) && course.isDue(endpoint));
    let shareEndsAt = never;
    for (;;) {
      const isHeld = race.running().some((endpoint) => !overdue.has(endpoint));
      const endpoint = isHeld ? undefined : due.shift();
      if (endpoint) {
        start(endpoint, question, course);
        const at = clock.monotonic();
        shareEndsAt = at + (query.deadlineAt - at) / (Math.max(due.length, 1) + 1);
        continue;
      }
      if (race.running().length === 0 || (!isHeld && failures.size > 0)) return undefined;
      const mayGoOn = isHeld && due.length + failures.size > 0;
      const ms = mayGoOn ? Math.max(shareEndsAt - clock.monotonic(), 0) : never;
      const finish = await firstWithin(ms, query.signal, race);
      if (!finish) for (const silent of race.running()) overdue.add(silent);
      const answered = finish && settle(finish, question, course);
      if (answered) return answered;
    }
  }

  function start<Q extends AnyQuery, T>(
    endpoint: Endpoint,
    { query, endpoints, ask }: EndpointQuestion<Q, T>,
    { failures, race, overdue }: Course<T>,
  ): void {
    const before = failures.get(endpoint);
    if (before) Object.assign(before, { at: never, isRetry: false });
    overdue.delete(endpoint);
    race.start(endpoint, async (lost) => {
      // A single one cannot lose.
      const own = endpoints.length === 1 ? query : { ...query, signal: AbortSignal.any([query.signal, lost]) };
      return await ask(endpoint.client, own);
    });
  }

  function settle<Q extends AnyQuery, T>(
    finish: Finish<Endpoint, Reply<T>>,
    { matter, query, isNothing = isRefusal }: EndpointQuestion<Q, T>,
    { failures, race, overdue, sent }: Course<T>,
  ): Answered<T> | undefined {
    race.take(finish);
    const { of: endpoint } = finish;
    if ('value' in finish) {
      sent();
      endpoint.answered(matter);
      // Another endpoint may lag behind, or hide what it keeps from others: then `url` is to say whether it is gone.
      if (endpoint.isFirst || !isNothing(finish.value)) {
        for (const silent of race.running()) if (overdue.has(silent)) silent.failed(silence(), matter);
        return { reply: finish.value, endpoint };
      }
      failures.set(endpoint, {
        error: undefined,
        latest: undefined,
        tries: 1,
        isPlanned: true,
        at: never,
        isRetry: false,
      });
      return undefined;
    }
    const { error } = finish;
    if (query.signal.aborted || !isUpstreamError(error)) throw error;
    if (!unsent.has(error.code)) sent();
    endpoint.failed(error, matter);
    const { error: before, tries = 0 } = failures.get(endpoint) ?? {};
    const was = error.code === 'unavailable' ? { error: before ?? error, tries } : { error, tries: tries + 1 };
    failures.set(endpoint, { ...was, latest: error, isPlanned: false, at: never, isRetry: false });
    return undefined;
  }

  const silence = () =>
    new UpstreamError('timeout', `${key} did not answer within its share of time`, { upstream: key });

  return {
    ask: askRound,
    answerWithin,
    close(reason) {
      for (const waiting of waits) waiting.abort(reason);
    },
  };
}

function byHealth(endpoints: readonly Endpoint[], matter: Matter): readonly Endpoint[] {
  if (endpoints.length === 1) return endpoints;
  const failing = new Set(endpoints.filter((endpoint) => endpoint.isFailing(matter)));
  return [...endpoints.filter((endpoint) => !failing.has(endpoint)), ...failing];
}

function isRefusal({ kind }: Reply<unknown>): boolean {
  return kind === 'absent' || kind === 'denied';
}
