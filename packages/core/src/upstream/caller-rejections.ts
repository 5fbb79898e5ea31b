import { LRUCache } from 'lru-cache';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Asker, Rejections } from './rejection.ts';
import { UpstreamError } from './upstream-error.ts';

/** Credentials or users that were rejected, and until when they are left alone. */
interface Wait {
  times: number;
  until: number;
}

// Some 200 bytes each. Whoever sends passwords at random fills the first two, and pushes nobody out of the third.
const most = 10_000;
const firstWait = 5_000;
const longestWait = 5 * 60_000;

/** Wrong passwords of one user that go through before all others of that user have to wait: registries lock accounts. */
const freeTries = 5;

/**
 * Makes the memory of callers' credentials that one upstream rejected: each is left alone for 5 s, doubling to 5 min, and
 * so are all credentials of a user whose password is being guessed, but for those that the upstream has taken.
 */
export function createCallerRejections({ key, clock }: { key: string; clock: Clock }): Rejections {
  const rejected = new LRUCache<string, Wait>({ max: most });
  const guessed = new LRUCache<string, Wait>({ max: most });
  const taken = new LRUCache<string, true>({ max: most });

  const wait = (times: number) => clock.monotonic() + Math.min(firstWait * 2 ** (times - 1), longestWait);
  const refused = () => new ProxyCacheError('unauthenticated', `${key} does not take these credentials; log in again`);
  const userOf = ({ caller }: Asker) => caller?.reveal().username ?? '';

  return {
    check(asker) {
      const now = clock.monotonic();
      if (now < (rejected.get(asker.scope)?.until ?? 0)) throw refused();
      const { until = 0 } = guessed.get(userOf(asker)) ?? {};
      if (now >= until || taken.has(asker.scope)) return;
      const message = `${key} was given too many wrong passwords for this user; try again later`;
      throw new UpstreamError('rate-limited', message, { upstream: key, retryAt: clock.now() + (until - now) });
    },
    rejected(asker) {
      // It was right a moment ago: the upstream may mean what was asked for, and not who asked.
      if (taken.delete(asker.scope)) return refused();
      const now = clock.monotonic();
      const { times = 0, until = 0 } = rejected.get(asker.scope) ?? {};
      // Those who asked at the same time were rejected together.
      if (now < until) return refused();
      rejected.set(asker.scope, { times: times + 1, until: wait(times + 1) });
      const user = guessed.get(userOf(asker));
      // As long ago as the longest wait, it is no guessing any more.
      const guesses = (user && now - user.until < longestWait ? user.times : 0) + 1;
      guessed.set(userOf(asker), { times: guesses, until: guesses < freeTries ? now : wait(guesses - freeTries + 1) });
      return refused();
    },
    accepted({ scope }) {
      rejected.delete(scope);
      taken.set(scope, true);
    },
  };
}
