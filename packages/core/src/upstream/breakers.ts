import type { Clock } from '../runtime/clock.ts';
import { parseDuration } from '../runtime/duration.ts';
import { createRecent } from '../runtime/recent.ts';
import { type Breaker, type BreakerState, createBreaker, type EndAttempt, type Sign } from './breaker.ts';
import type { UpstreamEvent } from './events.ts';
import type { HostStatus } from './upstream.ts';
import { isUpstreamError, UpstreamError } from './upstream-error.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/** A request, as far as a breaker is concerned. */
export interface Attempt {
  url: URL;
  /** `clock.monotonic()` ms by which whoever asks has left. */
  deadlineAt: number;
}

/** The breakers of one upstream: one for each host it is or leads to, so that a dead CDN stops nothing else. */
export interface Breakers {
  /** Lets a request through. @throws UpstreamError `unavailable` */
  admit(attempt: Attempt): EndAttempt;
  /** @throws UpstreamError `unavailable` for what {@link Breakers.admit} would refuse now */
  check(attempt: Attempt): void;
  /** How it stands with a host and port; one that was not asked is `closed`. */
  stateOf(host: string): BreakerState;
  /** The hosts that were asked lately. */
  hosts(): readonly HostStatus[];
}

/** What breakers need of their upstream. */
export interface BreakersParts {
  clock: Clock;
  observe(event: UpstreamEvent): void;
  isOwn(url: URL): boolean;
}

// Redirects may lead to ever new hosts.
const most = 200;
// Who had hardly begun to wait learnt nothing of the host.
const leastWaitMs = 250;

/** Makes the breakers of one upstream. */
export function createBreakers({ key, breaker, timeouts }: UpstreamSettings, parts: BreakersParts): Breakers {
  const { clock, observe } = parts;
  const headersWithin = parseDuration(timeouts.headers);
  const known = createRecent<string, Breaker>(most);
  const wallTime = (instant: number) => clock.now() + instant - clock.monotonic();
  const rules = {
    failures: breaker.failures,
    openForMs: parseDuration(breaker.openFor),
    maxOpenForMs: parseDuration(breaker.maxOpenFor),
  };

  function breakerOf({ host }: URL): Breaker {
    const found = known.get(host);
    if (found) return found;
    const made = createBreaker(rules, {
      now: () => clock.monotonic(),
      changed({ state, retryAt }) {
        const at = retryAt === undefined ? {} : { retryAt: wallTime(retryAt) };
        observe({ type: 'breaker-changed', upstream: key, host, state, ...at });
      },
    });
    known.set(host, made);
    return made;
  }

  function attempted({ url, deadlineAt }: Attempt) {
    return { path: url.pathname, patience: Math.min(headersWithin, deadlineAt - clock.monotonic()) };
  }

  // Clients see the message, and are to see no host.
  function unavailable(url: URL, instant: number): UpstreamError {
    const retryAt = wallTime(instant);
    const why = `failed again and again and is not asked before ${new Date(retryAt).toISOString()}`;
    const message = `${key} ${parts.isOwn(url) ? '' : 'led to a host that '}${why}`;
    return new UpstreamError('unavailable', message, {
      upstream: key,
      retryAt,
      host: url.host,
      cause: new Error(`${url.host} ${why}`),
    });
  }

  return {
    admit(attempt) {
      const admitted = breakerOf(attempt.url).admit(attempted(attempt));
      if ('retryAt' in admitted) throw unavailable(attempt.url, admitted.retryAt);
      return admitted.end;
    },
    check(attempt) {
      const retryAt = known.get(attempt.url.host)?.refusedUntil(attempted(attempt));
      if (retryAt !== undefined) throw unavailable(attempt.url, retryAt);
    },
    stateOf: (host) => known.peek(host)?.status().state ?? 'closed',
    hosts: () =>
      [...known.entries()].map(([host, one]) => {
        const { retryAt, ...status } = one.status();
        return { host, ...status, ...(retryAt !== undefined && { retryAt: wallTime(retryAt) }) };
      }),
  };
}

/** What a status says of the host: any but a server's own failure shows it alive; what it cannot do (501) is no failure. */
export function signOfStatus(status: number, path: string): Sign {
  return status >= 500 && status !== 501
    ? { kind: 'failed', waited: Number.POSITIVE_INFINITY, path, isSudden: true }
    : { kind: 'alive' };
}

/**
 * What a failed request says of the host. A caller's leaving says nothing, unless it left because its time was up.
 *
 * @param waited ms since the request went to the host; `undefined`: it did not
 */
export function signOfFailure(
  error: unknown,
  { signal, waited, patient }: { signal: AbortSignal; waited: number | undefined; patient: boolean },
): Sign {
  const why: unknown = signal.aborted ? signal.reason : error;
  if (!isUpstreamError(why) || waited === undefined) return { kind: 'nothing' };
  if (why.code === 'unreachable') return { kind: 'failed', waited: Number.POSITIVE_INFINITY, isSudden: true };
  if (why.code !== 'timeout') return { kind: 'nothing' };
  // Who would have waited on was cut off by a limit that holds for everybody.
  if (patient) return { kind: 'failed', waited: Number.POSITIVE_INFINITY };
  return waited < leastWaitMs ? { kind: 'nothing' } : { kind: 'failed', waited };
}
