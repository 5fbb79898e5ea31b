import type { Clock } from '../runtime/clock.ts';
import {
  type Answered,
  type AnyQuery,
  type Course,
  createRounds,
  type EndpointQuestion,
  type Failure,
  never,
} from './ask-round.ts';
import type { Endpoint } from './endpoint.ts';
import type { UpstreamEvent } from './events.ts';
import { createRace } from './race.ts';
import { isLeftAlone, type NextTry, nextTry, onceUp, type RetryRules } from './retry.ts';
import type { RetryBudget } from './retry-budget.ts';
import type { HostStatus } from './upstream.ts';
import { UpstreamError } from './upstream-error.ts';

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

/**
 * Makes the way in which one upstream's endpoints are asked. A round goes through them, those that failed lately last;
 * what one cannot say, another may. One that is silent has a share of the time for itself; then the next is asked beside it,
 * and whoever answers first is believed. When all have failed, those that may mend are asked again after a while, within the
 * request's deadline, `attempts` for each endpoint, and the upstream's budget of retries; one retry of each request is
 * free, as breakers bound an outage.
 */
export function createAskEndpoints(parts: AskEndpointsParts): AskEndpoints {
  const { key, rules, budget, clock, observe, random } = parts;
  const rounds = createRounds({ key, clock });

  async function ask<Q extends AnyQuery, T>(question: EndpointQuestion<Q, T>): Promise<Answered<T>> {
    const { operation, query, endpoints, patient = false } = question;
    const failures = new Map<Endpoint, Failure>();
    let retries = 0;
    let earned = false;
    const course: Course<T> = {
      failures,
      race: createRace(question.drop ?? (() => undefined)),
      overdue: new Set(),
      isDue: (endpoint) => isDue(endpoint, failures.get(endpoint)),
      sent() {
        if (!earned) budget.earn();
        earned = true;
      },
    };
    try {
      for (;;) {
        const answered = await rounds.ask(question, course);
        if (answered) return answered;
        const next = nextOf(failures, { deadlineAt: query.deadlineAt, patient, isFree: retries === 0 });
        if (!next?.error) {
          if (course.race.running().length === 0) throw mostTelling(failures, { endpoints, key });
          const late = await rounds.answerWithin(never, question, course);
          if (late) return late;
          continue;
        }
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
        const late = await rounds.answerWithin(waitMs, question, course, { untilOver: true });
        if (late) return late;
      }
    } finally {
      course.race.end();
    }
  }

  /** Looks first whether the host that failed is back: to it may lead others that are well, and have enough to do. */
  function isDue(endpoint: Endpoint, failure: Failure | undefined): boolean {
    if (!failure) return true;
    if (failure.at > clock.monotonic()) return false;
    if (failure.isRetry || !failure.latest || !isLeftAlone(hostOf(endpoint, failure.latest))) return true;
    failure.isPlanned = false;
    return false;
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
    close: rounds.close,
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
