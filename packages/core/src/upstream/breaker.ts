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
 * have; `path`: the host did answer, with an error, and may have none for another path.
 */
export type Sign = { kind: 'alive' } | { kind: 'failed'; waited: number; path?: string } | { kind: 'nothing' };

/** Ends a request that was let through; the second time it does nothing. */
export type EndAttempt = (sign: Sign) => void;

/** What a breaker is at the moment; `retryAt` on the monotonic clock, where it is open. */
export interface BreakerStatus {
  state: BreakerState;
  /** Failures since the host last answered. */
  failures: number;
  retryAt?: number;
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

/**
 * Makes the breaker of one host, closed. It opens after failures in a row; as soon as it has been open for a while, the
 * next request is the probe: an answer closes it, a failure opens it for twice as long. It refuses what the failures
 * speak for and no more: not those with more patience than was in vain, nor other paths than the one that gets errors.
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
  let openForMs = rules.openForMs;
  let openUntil = 0;
  let probe: { since: number; round: number } | undefined;
  // Probes of one opening; of several that hang, the first to fail speaks for all.
  let round = 0;
  // A request counts in the era it began in: what was asked before the host failed, or came back, is no news of it.
  let era = 0;

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
    waits = [...waits, waited].sort((a, b) => b - a).slice(0, rules.failures);
  }

  /** Whether the failures so far say that this request would fail, too. */
  function speaksFor({ path, patience }: Attempted): boolean {
    const inVain = waits.at(-1) ?? 0;
    return (onlyPath === undefined || path === onlyPath) && (inVain === Infinity || patience < inVain * clearlyMore);
  }

  function refusedUntil(attempted: Attempted): number | undefined {
    if (state === 'closed' || !speaksFor(attempted)) return undefined;
    const at = now();
    if (state === 'open') return at < openUntil ? openUntil : undefined;
    // A probe that hangs must not keep the host from being found alive: after a while another one goes.
    return probe && at < probe.since + rules.openForMs ? at + lookAgainMs : undefined;
  }

  function status(): BreakerStatus {
    // Open for its time, it waits for nothing but a request.
    const shown = state === 'open' && now() >= openUntil ? 'half-open' : state;
    return { state: shown, failures, ...(shown === 'open' && { retryAt: openUntil }) };
  }

  /** The end of a request of this era. */
  function settle(sign: Exclude<Sign, { kind: 'nothing' }>, isProbe: boolean): void {
    if (sign.kind === 'alive') {
      failures = 0;
      waits = [];
      if (state !== 'closed') close();
      return;
    }
    note(sign);
    if (state === 'closed' && failures >= rules.failures) {
      era++;
      open(rules.openForMs);
    } else if (state === 'half-open' && isProbe) {
      open(openForMs * 2);
    }
  }

  return {
    refusedUntil,
    status,
    admit(attempted) {
      const retryAt = refusedUntil(attempted);
      if (retryAt !== undefined) return { retryAt };
      let own: typeof probe;
      if (state !== 'closed' && speaksFor(attempted)) {
        own = probe = { since: now(), round };
        if (state === 'open') become('half-open');
      }
      const began = era;
      let ended = false;
      return {
        end(sign) {
          if (ended) return;
          ended = true;
          // Whatever came of it: the next request may try.
          if (own !== undefined && own === probe) probe = undefined;
          if (sign.kind !== 'nothing' && began === era) settle(sign, own?.round === round);
        },
      };
    },
  };
}
