import type { Clock } from '../runtime/clock.ts';
import type { UpstreamEvent } from './events.ts';
import type { Question } from './question.ts';
import { UpstreamError } from './upstream-error.ts';

/** Whose credential it is. */
export type Asker = Pick<Question, 'scope' | 'caller'>;

/** Credentials that were rejected, and when they may be tried again: registries lock accounts that try too often. */
export interface Rejections {
  /** @throws what {@link rejected} gives, while a rejected credential is left alone */
  check(asker: Asker, generation: number): void;
  /**
   * Notes a rejection and gives the error to throw: UpstreamError `credentials-rejected`, or ProxyCacheError
   * `unauthenticated` where the credential is the caller's.
   */
  rejected(asker: Asker, generation: number, host: string): Error;
  /** Notes that a credential was taken. */
  accepted(asker: Asker, generation: number): void;
  /** Notes that what it was given before is still good: for {@link wasTaken}, and no rejection ends by that. */
  worked(asker: Asker, generation: number): void;
  /**
   * Whether the upstream's own credential was taken, or worked, since it was refused last, so that it may well be right.
   * Asked of each refusal, and forgotten by that.
   */
  wasTaken(asker: Asker, generation: number): boolean;
}

const firstWait = 5_000;
const longestWait = 5 * 60_000;

/** Makes the memory of one upstream's own credential, and tells the observer: 5 s, doubling to 5 min. */
export function createRejections(parts: {
  key: string;
  clock: Clock;
  observe(event: UpstreamEvent): void;
}): Rejections {
  const { key, clock, observe } = parts;
  const rejections = new Map<string, { generation: number; until: number; times: number; host: string }>();
  /** The generation that was taken, until its next refusal. */
  const taken = new Map<string, number>();

  function errorOf(host: string, until: number): UpstreamError {
    const retryAt = clock.now() + Math.max(until - clock.monotonic(), 0);
    const message = `${key} rejects the configured credential; it is tried again in a while, correct it in auth`;
    const cause = new Error(`${host} rejects the configured credential`);
    return new UpstreamError('credentials-rejected', message, { upstream: key, status: 401, retryAt, cause });
  }

  return {
    check({ scope: owner }, generation) {
      const known = rejections.get(owner);
      if (known?.generation === generation && clock.monotonic() < known.until) throw errorOf(known.host, known.until);
    },
    rejected({ scope: owner }, generation, host) {
      if (taken.get(owner) === generation) taken.delete(owner);
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
    accepted({ scope: owner }, generation) {
      rejections.delete(owner);
      taken.set(owner, generation);
    },
    worked({ scope: owner }, generation) {
      taken.set(owner, generation);
    },
    wasTaken: ({ scope: owner }, generation) => taken.get(owner) === generation && taken.delete(owner),
  };
}
