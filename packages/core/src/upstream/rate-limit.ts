import type { Clock } from '../runtime/clock.ts';
import { createRecent } from '../runtime/recent.ts';

/** What an upstream's 429 answers mean for the requests to come, by kind (host, credential and operation): the kinds are limited apart. */
export interface RateLimits {
  /** Wall time in ms until which requests of this kind are not sent; `undefined`: they may go. */
  limitedUntil(kind: string): number | undefined;
  /** Wall time in ms until which requests of some kind are not sent; `undefined`: all may go. */
  anyLimitedUntil(): number | undefined;
  /**
   * Notes a 429 and gives the wall time from which to ask again.
   *
   * @param sentAt `clock.monotonic()` ms at which the request was sent
   */
  limited(kind: string, sentAt: number, retryAfter: string | undefined): number;
  /** Notes an answer that was not a 429, to a request that was sent at `sentAt`. */
  passed(kind: string, sentAt: number): void;
}

// SEMANTICS of a 429 without a word on when: 60 s, doubling.
const firstWait = 60_000;
const longestWait = 15 * 60_000;
// Docker Hub's window is 6 h; a date further away is more likely a wrong clock.
const longestTold = 6 * 60 * 60_000;
// Redirects may lead to ever new hosts.
const most = 1_000;

/** Makes the memory of one upstream. It ends with the process: asking once more after a restart does no harm. */
export function createRateLimits(clock: Clock): RateLimits {
  // On the monotonic clock: a wall clock that steps back must not lock an upstream out.
  const waits = createRecent<string, { until: number; untold: number }>(most);

  // What was under way when a 429 came belongs to that one: it is no second refusal, and no news of the limit.
  const wasUnderWay = (kind: string, sentAt: number) => sentAt < (waits.peek(kind)?.until ?? 0);

  return {
    anyLimitedUntil() {
      const left = Math.max(0, ...[...waits.values()].map(({ until }) => until)) - clock.monotonic();
      return left > 0 ? clock.now() + left : undefined;
    },
    limitedUntil(kind) {
      const left = (waits.get(kind)?.until ?? 0) - clock.monotonic();
      return left > 0 ? clock.now() + left : undefined;
    },
    limited(kind, sentAt, retryAfter) {
      const told = parseRetryAfter(retryAfter, clock.now());
      const before = waits.get(kind)?.untold ?? 0;
      const again = wasUnderWay(kind, sentAt) ? Math.max(before, 1) : before + 1;
      const untold = told === undefined ? again : 0;
      const wait = told ?? Math.min(firstWait * 2 ** (untold - 1), longestWait);
      waits.set(kind, { until: clock.monotonic() + wait, untold });
      return clock.now() + wait;
    },
    passed(kind, sentAt) {
      if (!wasUnderWay(kind, sentAt)) waits.delete(kind);
    },
  };
}

/** Ms to wait by a `Retry-After` header, in seconds or as a date (RFC 9110 10.2.3); `undefined` where it says nothing. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  const text = value?.trim() ?? '';
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now;
  // A date is in words: a bare year or a negative number is neither form.
  if (Number.isNaN(ms) || !/^\d+$|^[A-Za-z]/.test(text)) return undefined;
  return Math.min(Math.max(ms, 0), longestTold);
}
