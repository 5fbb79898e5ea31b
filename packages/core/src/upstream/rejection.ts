import type { Clock } from '../runtime/clock.ts';
import type { UpstreamEvent } from './events.ts';
import { UpstreamError } from './upstream-error.ts';

/** Credentials that were rejected, and when they may be tried again: registries lock accounts that try too often. */
export interface Rejections {
  /** @throws UpstreamError `credentials-rejected` while a rejected credential is left alone */
  check(owner: string, generation: number): void;
  /** Notes a rejection, tells the observer, and gives the error to throw. */
  rejected(owner: string, generation: number, host: string): UpstreamError;
  /** Notes that a credential was taken. */
  accepted(owner: string): void;
}

const firstWait = 5_000;
const longestWait = 5 * 60_000;

/** Makes the memory of one upstream, per credential: 5 s, doubling to 5 min. */
export function createRejections(parts: {
  key: string;
  clock: Clock;
  observe(event: UpstreamEvent): void;
}): Rejections {
  const { key, clock, observe } = parts;
  const rejections = new Map<string, { generation: number; until: number; times: number; host: string }>();

  function errorOf(host: string, until: number): UpstreamError {
    const retryAt = clock.now() + Math.max(until - clock.monotonic(), 0);
    const message = `${key} rejects the configured credential; it is tried again in a while, correct it in auth`;
    const cause = new Error(`${host} rejects the configured credential`);
    return new UpstreamError('credentials-rejected', message, { upstream: key, status: 401, retryAt, cause });
  }

  return {
    check(owner, generation) {
      const known = rejections.get(owner);
      if (known?.generation === generation && clock.monotonic() < known.until) throw errorOf(known.host, known.until);
    },
    rejected(owner, generation, host) {
      const known = rejections.get(owner);
      // Those who asked at the same time were rejected together.
      if (known?.generation === generation && clock.monotonic() < known.until) return errorOf(known.host, known.until);
      const times = known?.generation === generation ? known.times + 1 : 1;
      const until = clock.monotonic() + Math.min(firstWait * 2 ** (times - 1), longestWait);
      rejections.set(owner, { generation, until, times, host });
      const error = errorOf(host, until);
      observe({ type: 'credentials-rejected', upstream: key, host, retryAt: error.retryAt ?? clock.now() });
      return error;
    },
    accepted(owner) {
      rejections.delete(owner);
    },
  };
}
