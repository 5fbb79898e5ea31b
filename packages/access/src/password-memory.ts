import { createHmac, randomBytes } from 'node:crypto';
import type { Clock } from '@proxycache/core';
import { LRUCache } from 'lru-cache';
import type { PasswordAttempt } from './password-verifier.ts';
import { createFlights } from './shared-flight.ts';

/** What verifying gave, kept for a while under a keyed digest of user and password. */
export interface PasswordMemory<T> {
  /**
   * What is known of this attempt, else what `verify` gives; attempts alike at the same time share one.
   *
   * @param stamp what the answer rests on: with another one it holds no more
   */
  recall(attempt: PasswordAttempt, stamp: string, verify: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

/** How long which answers are kept. */
export interface MemoryRules<T> {
  /** 0: not at all. */
  forMs: number;
  clock: Clock;
  /** `success` and `failure` are kept apart, so that no flood of one takes the place of the other; `unkept`: not at all. */
  kindOf(value: T): 'success' | 'failure' | 'unkept';
  /** Whether a success that is used is kept on: for answers that cannot change while their stamp stands. */
  prolongs: boolean;
}

interface Known<T> {
  value: T;
  stamp: string;
  until: number;
}

const mostSuccesses = 10_000;
const mostFailures = 1_000;

/** The key is random and this process's own: what is kept cannot be compared with anything elsewhere. */
export function createPasswordMemory<T>({ forMs, clock, kindOf, prolongs }: MemoryRules<T>): PasswordMemory<T> {
  const key = randomBytes(32);
  const known = {
    success: new LRUCache<string, Known<T>>({ max: mostSuccesses }),
    failure: new LRUCache<string, Known<T>>({ max: mostFailures }),
  };
  const flights = createFlights<T>();
  // Neither part has control characters, so no two pairs are written alike.
  const digestOf = (parts: readonly string[]) => createHmac('sha256', key).update(parts.join('\0')).digest('base64url');

  function find(digest: string, stamp: string): Known<T> | undefined {
    for (const kept of [known.success, known.failure]) {
      const found = kept.get(digest);
      if (found && (found.stamp !== stamp || clock.monotonic() >= found.until)) kept.delete(digest);
      else if (found) return found;
    }
    return undefined;
  }

  function keep(digest: string, stamp: string, value: T): void {
    const kind = kindOf(value);
    if (kind !== 'unkept' && forMs > 0) known[kind].set(digest, { value, stamp, until: clock.monotonic() + forMs });
  }

  return {
    async recall(attempt, stamp, verify) {
      const { user, password } = attempt;
      const digest = digestOf([user, password]);
      const found = find(digest, stamp);
      if (found) {
        if (prolongs && kindOf(found.value) === 'success') found.until = clock.monotonic() + forMs;
        return found.value;
      }
      return flights.join(digestOf([user, password, stamp]), attempt.signal, async (signal) => {
        const value = await verify(signal);
        keep(digest, stamp, value);
        return value;
      });
    },
  };
}
