import type { Clock } from '../runtime/clock.ts';
import type { Endpoint } from './endpoint.ts';
import type { UpstreamEvent, UpstreamOperation } from './events.ts';
import { pause } from './pause.ts';
import { nextTry, type RetryRules } from './retry.ts';
import type { RetryBudget } from './retry-budget.ts';
import type { Query, Reply, Upstream } from './upstream.ts';
import { isUpstreamError, type UpstreamError } from './upstream-error.ts';

/** A question for the first endpoint that can answer it. */
export interface EndpointQuestion<Q, T> {
  operation: UpstreamOperation;
  query: Q;
  /** In the order of preference. */
  endpoints: readonly Endpoint[];
  ask(client: Upstream, query: Q): Promise<Reply<T>>;
  /** Whether to wait for an endpoint that is known to be down, until the deadline. */
  patient?: boolean;
  /** Whether a reply means that there is nothing. Default: all that is not found. */
  isNothing?: (reply: Reply<T>) => boolean;
}

/** What asking takes. */
export interface AskEndpointsParts {
  /** The upstream's key. */
  key: string;
  rules: RetryRules;
  budget: RetryBudget;
  clock: Clock;
  observe(event: UpstreamEvent): void;
  random: () => number;
  /** Ends all waits. */
  closing: AbortSignal;
}

/** Asks endpoints until one answers. Rejects with the most telling UpstreamError, or the signal's reason. */
export type AskEndpoints = <Q extends AnyQuery, T>(question: EndpointQuestion<Q, T>) => Promise<Answered<T>>;

/** A reply and who gave it. */
export interface Answered<T> {
  reply: Reply<T>;
  endpoint: Endpoint;
}

type AnyQuery = Omit<Query, 'repository'> & { repository?: string };

/** How it stands with an endpoint that did not answer. */
interface Failure {
  /** What it said last, or what it said before it was known to be down: that tells more. */
  error: UpstreamError | undefined;
  /** Not settled yet. */
  latest: UpstreamError | undefined;
  /** How often it was asked. */
  tries: number;
  /** `clock.monotonic()` ms from which it may be asked again. */
  at: number;
  isRetry: boolean;
}

const never = Number.POSITIVE_INFINITY;

/**
 * Makes the way in which one upstream's endpoints are asked. A round goes through them, those that failed lately last;
 * what one cannot say, another may. When all have failed, those that may mend are asked again after a while, within the
 * request's deadline, `attempts` for each endpoint, and the upstream's budget of retries.
 */
export function createAskEndpoints(parts: AskEndpointsParts): AskEndpoints {
  const { key, rules, budget, clock, observe, random } = parts;

  return async (question) => {
    const { operation, query, endpoints, patient = false } = question;
    const failures = new Map<Endpoint, Failure>();
    budget.earn();
    for (;;) {
      const answered = await askRound(question, failures);
      if (answered) return answered;
      plan(failures, { deadlineAt: query.deadlineAt, patient });
      const next = nextOf(failures);
      if (!next?.error) throw mostTelling(endpoints, failures);
      const waitMs = Math.max(next.at - clock.monotonic(), 0);
      if (next.isRetry) {
        const { repository } = query;
        observe({
          type: 'upstream-retried',
          upstream: key,
          operation,
          ...(repository !== undefined && { repository }),
          attempt: next.tries + 1,
          error: next.error.code,
          waitMs,
        });
      }
      await pause(waitMs, { clock, signal: query.signal, closing: parts.closing });
    }
  };

  async function askRound<Q extends AnyQuery, T>(
    { query, endpoints, ask, isNothing = isRefusal }: EndpointQuestion<Q, T>,
    failures: Map<Endpoint, Failure>,
  ): Promise<Answered<T> | undefined> {
    const now = clock.monotonic();
    const due = byHealth(endpoints).filter((endpoint) => (failures.get(endpoint)?.at ?? now) <= now);
    for (const [index, endpoint] of due.entries()) {
      try {
        const reply = await ask(endpoint.client, shareOf(query, due.length - index));
        endpoint.answered();
        // Another endpoint may lag behind, or hide what it keeps from others: then `url` is to say whether it is gone.
        if (endpoint.isFirst || endpoints.length === 1 || !isNothing(reply)) return { reply, endpoint };
        failures.set(endpoint, { error: undefined, latest: undefined, tries: 1, at: never, isRetry: false });
      } catch (error) {
        if (query.signal.aborted || !isUpstreamError(error)) throw error;
        endpoint.failed(error);
        const { error: before, tries = 0 } = failures.get(endpoint) ?? {};
        const was = error.code === 'unavailable' ? { error: before ?? error, tries } : { error, tries: tries + 1 };
        failures.set(endpoint, { ...was, latest: error, at: never, isRetry: false });
      }
    }
    return undefined;
  }

  /** One that is silent must not use up the time of those behind it. */
  function shareOf<Q extends AnyQuery>(query: Q, left: number): Q {
    if (left === 1) return query;
    const now = clock.monotonic();
    return { ...query, deadlineAt: now + (query.deadlineAt - now) / left };
  }

  function plan(failures: Map<Endpoint, Failure>, request: { deadlineAt: number; patient: boolean }): void {
    const { deadlineAt, patient } = request;
    const monotonic = clock.monotonic();
    const context = { rules, leftMs: deadlineAt - monotonic, now: clock.now(), patient, random };
    for (const failure of failures.values()) {
      const { latest, tries } = failure;
      if (!latest) continue;
      const next = nextTry(latest, { ...context, tries });
      failure.latest = undefined;
      if (next) Object.assign(failure, { at: monotonic + next.waitMs, isRetry: next.isRetry });
    }
  }

  /** The earliest instant to go on at, paid for; `undefined`: there is none. */
  function nextOf(failures: Map<Endpoint, Failure>): Failure | undefined {
    const earliest = () =>
      [...failures.values()].reduce<Failure | undefined>(
        (first, failure) => (failure.at < (first?.at ?? never) ? failure : first),
        undefined,
      );
    const next = earliest();
    if (!next?.isRetry || budget.take()) return next;
    for (const failure of failures.values()) if (failure.isRetry) failure.at = never;
    return earliest();
  }
}

function byHealth(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  if (endpoints.length === 1) return endpoints;
  const failing = new Set(endpoints.filter((endpoint) => endpoint.isFailing()));
  return [...endpoints.filter((endpoint) => !failing.has(endpoint)), ...failing];
}

function isRefusal({ kind }: Reply<unknown>): boolean {
  return kind === 'absent' || kind === 'denied';
}

/**
 * The error of the first endpoint by order of preference; that one is known to be down tells less than what another said
 * just now, and of those that are down it matters which is asked again first.
 */
function mostTelling(endpoints: readonly Endpoint[], failures: ReadonlyMap<Endpoint, Failure>): UpstreamError {
  const errors = endpoints.flatMap((endpoint) => failures.get(endpoint)?.error ?? []);
  const told = errors.find(({ code }) => code !== 'unavailable');
  const soonest = errors.toSorted((one, other) => (one.retryAt ?? never) - (other.retryAt ?? never)).at(0);
  const error = told ?? soonest;
  if (!error) throw new Error('asked no endpoint');
  return error;
}
