/** Whether a host is asked: as usual, not at all, or by one request at a time, to see whether it is back. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** When a breaker opens, and for how long. Durations in ms. */
export interface BreakerRules {
  /** Failures in a row that open it. */
  failures: number;
  openForMs: number;
  /** The most that {@link openForMs} doubles to, once for each probe that failed. */
  maxOpenForMs: number;
}

/** What a request would ask of the host. */
export interface Attempted {
  path: string;
  /** The longest it would wait for an answer, in ms. */
  patience: number;
}

/**
 * What a request showed of the host. `waited`: the ms that brought no answer, `Infinity` where no more of them would
 * have; `path`: the host did answer, with an error, and may have none for another path; `isSudden`: nobody waited for
 * it, so that one event may have met all that were under way.
 */
export type Sign =
  | { kind: 'alive' }
  | { kind: 'failed'; waited: number; path?: string; isSudden?: boolean }
  | { kind: 'nothing' };

/** Ends a request that was let through; the second time it does nothing. */
export type EndAttempt = (sign: Sign) => void;

/** What a breaker is at the moment; `retryAt` on the monotonic clock, where it is open. */
export interface BreakerStatus {
  state: BreakerState;
  /** Failures since the host last answered. */
  failures: number;
  retryAt?: number;
  /** Whether a probe is out, for whose end the others are to wait. */
  isProbed?: true;
}

/** The breaker of one host. Instants are `clock.monotonic()` ms. */
export interface Breaker {
  /** Lets a request through, or says when to come again. */
  admit(attempted: Attempted): { end: EndAttempt } | { retryAt: number };
  /** When to come again, for a request that {@link admit} would refuse now; `undefined`: it would not. */
  refusedUntil(attempted: Attempted): number | undefined;
  status(): BreakerStatus;
}

// While a probe is out nobody knows for how long; to look again costs nothing.
const lookAgainMs = 250;
// Who waits as much longer than those who waited in vain may yet get an answer: a slow host is no dead one.
const clearlyMore = 2;
// Old news: nobody asked for at least so long after it could have been asked.
const leastForgetMs = 5_000;

/**
 * Makes the breaker of one host, closed. It opens after failures in a row; as soon as it has been open for a while, the
 * next request is the probe: an answer closes it, a failure opens it for twice as long. It refuses what the failures
 * speak for and no more: not those with more patience than was in vain, nor other paths than the one that gets errors.
 *
 * Sudden failures of requests that were under way together count as one: a load balancer's restart resets many at a time.
 * What nobody looked into for as long again as it was open is old news: then it is closed but for one failure.
 */
export function createBreaker(
  rules: BreakerRules,
  { now, changed }: { now(): number; changed(status: BreakerStatus): void },
): Breaker {
  let state: BreakerState = 'closed';
  let failures = 0;
  // The longest waits in vain of this row of failures, the longest first.
  let waits: number[] = [];
  // The one path that got errors; `undefined`: the host is at fault, or more than one did.
  let onlyPath: string | undefined;
  // Of the last opening since it answered.
  let openForMs = 0;
  let openUntil = 0;
  // When it was last known to be in use: openings and probes.
  let usedAt = 0;
  // Failures that counted, ever.
  let counted = 0;
  let probe: { since: number; round: number } | undefined;
  // Probes of one opening; of several that hang, the first to fail speaks for all.
  let round = 0;
  // A request counts in the era it began in: what was asked before the host failed, or came back, is no news of it.
  let era = 0;

  /** Whether it is closed by the mere lapse of time. */
  function isForgotten(): boolean {
    return state !== 'closed' && !probe && now() >= Math.max(openUntil, usedAt) + Math.max(openForMs, leastForgetMs);
  }

  function forget(): void {
    failures = rules.failures - 1;
    waits = waits.slice(0, failures);
    close();
  }

  function become(next: BreakerState): void {
    state = next;
    changed(status());
  }

  function close(): void {
    era++;
    probe = undefined;
    become('closed');
  }

  function open(ms: number): void {
    openForMs = Math.min(ms, rules.maxOpenForMs);
    openUntil = now() + openForMs;
    probe = undefined;
    round++;
    become('open');
  }

  function note({ waited, path }: { waited: number; path?: string }): void {
    onlyPath = failures === 0 || path === onlyPath ? path : undefined;
    failures++;
    counted++;
    waits = [...waits, waited].sort((a, b) => b - a).slice(0, rules.failures);
  }

  /** Whether the failures so far say that this request would fail, too. */
  function speaksFor({ path, patience }: Attempted): boolean {
    const inVain = waits.at(-1) ?? 0;
    return (onlyPath === undefined || path === onlyPath) && (inVain === Infinity || patience < inVain * clearlyMore);
  }

  function refusedUntil(attempted: Attempted): number | undefined {
    if (state === 'closed' || isForgotten() || !speaksFor(attempted)) return undefined;
    const at = now();
    if (state === 'open') return at < openUntil ? openUntil : undefined;
    return isProbed() ? at + lookAgainMs : undefined;
  }

  /** A probe that hangs must not keep the host from being found alive: after a while another one goes. */
  function isProbed(): boolean {
    return probe !== undefined && now() < probe.since + rules.openForMs;
  }

  function status(): BreakerStatus {
    if (isForgotten()) return { state: 'closed', failures: rules.failures - 1 };
    // Open for its time, it waits for nothing but a request.
    const shown = state === 'open' && now() >= openUntil ? 'half-open' : state;
    return {
      state: shown,
      failures,
      ...(shown === 'open' && { retryAt: openUntil }),
      ...(shown === 'half-open' && isProbed() && { isProbed: true as const }),
    };
  }

  /** The end of a request of this era. */
  function settle(
    sign: Exclude<Sign, { kind: 'nothing' }>,
    { isProbe, after }: { isProbe: boolean; after: number },
  ): void {
    if (sign.kind === 'alive') {
      failures = 0;
      waits = [];
      openForMs = 0;
      if (state !== 'closed') close();
      return;
    }
    if (isProbe || !sign.isSudden || after === counted) note(sign);
    if (state === 'closed' && failures >= rules.failures) {
      era++;
      // Longer than before, if it has not answered since.
      open(Math.max(rules.openForMs, openForMs * 2));
    } else if (state === 'half-open' && isProbe) {
      open(openForMs * 2);
    }
  }

  return {
    refusedUntil,
    status,
    admit(attempted) {
      if (isForgotten()) forget();
      const retryAt = refusedUntil(attempted);
      if (retryAt !== undefined) return { retryAt };
      let own: typeof probe;
      if (state !== 'closed' && speaksFor(attempted)) {
        own = probe = { since: now(), round };
        usedAt = now();
        if (state === 'open') become('half-open');
      }
      const began = era;
      const after = counted;
      let ended = false;
      return {
        end(sign) {
          if (ended) return;
          ended = true;
          // Whatever came of it: the next request may try.
          if (own !== undefined && own === probe) {
            probe = undefined;
            usedAt = now();
          }
          if (sign.kind !== 'nothing' && began === era) settle(sign, { isProbe: own?.round === round, after });
        },
      };
    },
  };
}
