import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createRecent } from '../runtime/recent.ts';
import type { Asker, Rejections } from './rejection.ts';
import { UpstreamError } from './upstream-error.ts';

/** Credentials or users that were rejected, and until when they are left alone. */
interface Wait {
  times: number;
  until: number;
}

// Some 200 bytes each. Whoever sends passwords at random fills those of what was rejected, and no others.
const most = 10_000;
const firstWait = 5_000;
const longestWait = 5 * 60_000;

/** Wrong passwords of one user that go through before others of that user have to wait: registries lock accounts. */
const freeTries = 5;
const longestUserWait = 60_000;

/** A name with so many right passwords is no account: `gitlab-ci-token` and the like, which tokens come under. */
const passwordsOfTokens = 3;

/**
 * Makes the memory of callers' credentials that one upstream rejected: each is left alone for 5 s, doubling to 5 min. So are,
 * for up to a minute, all credentials of a user whose password is being guessed, but for those that the upstream has taken.
 */
export function createCallerRejections({ key, clock }: { key: string; clock: Clock }): Rejections {
  const rejected = createRecent<string, Wait>(most);
  const guessed = createRecent<string, Wait>(most);
  /** Scopes of credentials that were taken. */
  const taken = createRecent<string, true>(most);
  /** The first few of them, of each user. */
  const takenOf = createRecent<string, readonly string[]>(most);

  const wait = (times: number, longest: number) => clock.monotonic() + Math.min(firstWait * 2 ** (times - 1), longest);
  const refused = () => new ProxyCacheError('unauthenticated', `${key} does not take these credentials; log in again`);
  const userOf = ({ caller }: Asker) => caller?.reveal().username ?? '';

  function noteGuess(user: string): void {
    const now = clock.monotonic();
    const known = guessed.get(user);
    // As long ago as the longest wait, it is no guessing any more.
    const times = (known && now - known.until < longestWait ? known.times : 0) + 1;
    guessed.set(user, { times, until: times < freeTries ? now : wait(times - freeTries + 1, longestUserWait) });
  }

  return {
    check(asker) {
      const now = clock.monotonic();
      if (now < (rejected.get(asker.scope)?.until ?? 0)) throw refused();
      const user = userOf(asker);
      const { until = 0 } = guessed.get(user) ?? {};
      if (now >= until || taken.has(asker.scope) || takenOf.get(user)?.length === passwordsOfTokens) return;
      const message = `${key} was given too many wrong passwords for this user; try again later`;
      throw new UpstreamError('rate-limited', message, { upstream: key, retryAt: clock.now() + (until - now) });
    },
    rejected(asker) {
      // It was right a moment ago: the upstream may mean what was asked for, and not who asked.
      if (taken.delete(asker.scope)) return refused();
      const { times = 0, until = 0 } = rejected.get(asker.scope) ?? {};
      // Those who asked at the same time were rejected together.
      if (clock.monotonic() < until) return refused();
      rejected.set(asker.scope, { times: times + 1, until: wait(times + 1, longestWait) });
      // One that is tried again and again is no guess: an old password that somebody forgot to change.
      if (times === 0) noteGuess(userOf(asker));
      return refused();
    },
    accepted(asker) {
      rejected.delete(asker.scope);
      taken.set(asker.scope, true);
      const user = userOf(asker);
      const known = takenOf.get(user) ?? [];
      if (known.length < passwordsOfTokens && !known.includes(asker.scope)) takenOf.set(user, [...known, asker.scope]);
    },
    // A token of before must not let a password that is wrong now be tried without end.
    worked: () => undefined,
    wasTaken: () => false,
  };
}
