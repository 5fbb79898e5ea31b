import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { pause } from '../runtime/pause.ts';
import type { Endpoint, Matter } from './endpoint.ts';
import type { UpstreamEvent, UpstreamOperation } from './events.ts';
import { isLeftAlone, type NextTry, nextTry, onceUp, type RetryRules } from './retry.ts';
import type { RetryBudget } from './retry-budget.ts';
import type { HostStatus, Query, Reply, Upstream } from './upstream.ts';
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
}

/** The way in which one upstream's endpoints are asked. */
export interface AskEndpoints {
  /** Asks until one answers. Rejects with the most telling UpstreamError, or the signal's reason. */
  ask<Q extends AnyQuery, T>(question: EndpointQuestion<Q, T>): Promise<Answered<T>>;
  /** Ends all waits with this. */
  close(reason: Error): void;
}

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

const never = Number.POSITIVE_INFINITY;
const unsent: ReadonlySet<UpstreamErrorCode> = new Set(['unavailable', 'busy', 'address-refused']);

/**
 * Makes the way in which one upstream's endpoints are asked. A round goes through them, those that failed lately last;
 * what one cannot say, another may. When all have failed, those that may mend are asked again after a while, within the
 * request's deadline, `attempts` for each endpoint, and the upstream's budget of retries; one retry of each request is
 * free, as breakers bound an outage.
 */
export function createAskEndpoints(parts: AskEndpointsParts): AskEndpoints {
  const { key, rules, budget, clock, observe, random } = parts;
  const waits = new Set<AbortController>();

  async function ask<Q extends AnyQuery, T>(question: EndpointQuestion<Q, T>): Promise<Answered<T>> {
    const { operation, query, endpoints, patient = false } = question;
    const failures = new Map<Endpoint, Failure>();
    let retries = 0;
    let earned = false;
    const sent = () => {
      if (!earned) budget.earn();
      earned = true;
    };
    for (;;) {
      const answered = await askRound(question, failures, sent);
      if (answered) return answered;
      const next = nextOf(failures, { deadlineAt: query.deadlineAt, patient, isFree: retries === 0 });
      if (!next?.error) throw mostTelling(failures, { endpoints, key });
      const waitMs = Math.max(next.at - clock.monotonic(), 0);
      if (next.isRetry) {
        const { repository } = query;
        retries++;
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
      await wait(waitMs, query.signal);
    }
  }

  async function wait(ms: number, signal: AbortSignal): Promise<void> {
    const waiting = new AbortController();
    waits.add(waiting);
    try {
      await abortable(pause(ms, clock, waiting.signal), signal);
    } finally {
      waits.delete(waiting);
      waiting.abort();
    }
  }

  async function askRound<Q extends AnyQuery, T>(
    { matter, query, endpoints, ask, isNothing = isRefusal }: EndpointQuestion<Q, T>,
    failures: Map<Endpoint, Failure>,
    sent: () => void,
  ): Promise<Answered<T> | undefined> {
    const due = byHealth(endpoints, matter).filter((endpoint) => isDue(endpoint, failures.get(endpoint)));
    for (const [index, endpoint] of due.entries()) {
      try {
        const reply = await ask(endpoint.client, shareOf(query, due.length - index));
        sent();
        endpoint.answered(matter);
        // Another endpoint may lag behind, or hide what it keeps from others: then `url` is to say whether it is gone.
        if (endpoint.isFirst || !isNothing(reply)) return { reply, endpoint };
        failures.set(endpoint, {
          error: undefined,
          latest: undefined,
          tries: 1,
          isPlanned: true,
          at: never,
          isRetry: false,
        });
      } catch (error) {
        if (query.signal.aborted || !isUpstreamError(error)) throw error;
        if (!unsent.has(error.code)) sent();
        endpoint.failed(error, matter);
        const { error: before, tries = 0 } = failures.get(endpoint) ?? {};
        const was = error.code === 'unavailable' ? { error: before ?? error, tries } : { error, tries: tries + 1 };
        failures.set(endpoint, { ...was, latest: error, isPlanned: false, at: never, isRetry: false });
      }
    }
    return undefined;
  }

  /** Looks first whether the host that failed is back: to it may lead others that are well, and have enough to do. */
  function isDue(endpoint: Endpoint, failure: Failure | undefined): boolean {
    if (!failure) return true;
    if (failure.at > clock.monotonic()) return false;
    if (failure.isRetry || !failure.latest || !isLeftAlone(hostOf(endpoint, failure.latest))) return true;
    failure.isPlanned = false;
    return false;
  }

  /** One that is silent must not use up the time of those behind it. */
  function shareOf<Q extends AnyQuery>(query: Q, left: number): Q {
    if (left === 1) return query;
    const now = clock.monotonic();
    return { ...query, deadlineAt: now + (query.deadlineAt - now) / left };
  }

  /** The earliest instant to go on at, paid for; `undefined`: there is none. */
  function nextOf(
    failures: ReadonlyMap<Endpoint, Failure>,
    request: { deadlineAt: number; patient: boolean; isFree: boolean },
  ): Failure | undefined {
    const monotonic = clock.monotonic();
    const { deadlineAt, patient, isFree } = request;
    const context = { rules, leftMs: deadlineAt - monotonic, now: clock.now(), patient, random };
    const plan = (failure: Failure, next: NextTry | undefined) => {
      failure.at = next ? monotonic + next.waitMs : never;
      failure.isRetry = next?.isRetry ?? false;
    };
    for (const [endpoint, failure] of failures) {
      const { latest, tries, at } = failure;
      if (!latest || failure.isPlanned) continue;
      failure.isPlanned = true;
      const own = { ...context, tries, host: hostOf(endpoint, latest) };
      // One that had an instant already waits for its host.
      plan(failure, at === never ? nextTry(latest, own) : onceUp(latest, own));
    }
    const next = earliestOf(failures.values());
    if (!next?.isRetry || isFree || budget.take()) return next;
    for (const [endpoint, failure] of failures) {
      const { latest, tries, isRetry } = failure;
      if (latest && isRetry) plan(failure, onceUp(latest, { ...context, tries, host: hostOf(endpoint, latest) }));
    }
    return earliestOf(failures.values());
  }

  return {
    ask,
    close(reason) {
      for (const waiting of waits) waiting.abort(reason);
    },
  };
}

/** How it stands with the host that failed, if that is known: the registry's, its token service's or another. */
function hostOf({ client }: Endpoint, { host }: UpstreamError): HostStatus | undefined {
  return host === undefined ? undefined : client.status().hosts.find((one) => one.host === host);
}

function earliestOf(failures: Iterable<Failure>): Failure | undefined {
  let earliest: Failure | undefined;
  for (const failure of failures) if (failure.at < (earliest?.at ?? never)) earliest = failure;
  return earliest;
}

function byHealth(endpoints: readonly Endpoint[], matter: Matter): readonly Endpoint[] {
  if (endpoints.length === 1) return endpoints;
  const failing = new Set(endpoints.filter((endpoint) => endpoint.isFailing(matter)));
  return [...endpoints.filter((endpoint) => !failing.has(endpoint)), ...failing];
}

function isRefusal({ kind }: Reply<unknown>): boolean {
  return kind === 'absent' || kind === 'denied';
}

/**
 * The error of the first endpoint by order of preference; that one is known to be down tells less than what another said
 * just now, and of those that are down it matters which is asked again first.
 */
function mostTelling(
  failures: ReadonlyMap<Endpoint, Failure>,
  { endpoints, key }: { endpoints: readonly Endpoint[]; key: string },
): UpstreamError {
  const errors = endpoints.flatMap((endpoint) => failures.get(endpoint)?.error ?? []);
  const told = errors.find(({ code }) => code !== 'unavailable');
  const soonest = errors.toSorted((one, other) => (one.retryAt ?? never) - (other.retryAt ?? never)).at(0);
  // A list that was begun at another endpoint is gone on with there alone.
  const unsure = `${key} could not say: that there is nothing was said by an endpoint that is not believed in that`;
  return told ?? soonest ?? new UpstreamError('server-error', unsure, { upstream: key });
}
