import { type Clock, ProxyCacheError } from '@proxycache/core';
import type { BcryptHash } from './bcrypt-hash.ts';
import type { BcryptRunner } from './bcrypt-runner.ts';

/** Says whether a password is the one of a hash. */
export type BcryptCheck = (password: string, hash: BcryptHash, signal: AbortSignal) => Promise<boolean>;

interface Job {
  password: string;
  hash: BcryptHash;
  /** Its turn has come: nobody calls it off any more. */
  begins(): void;
  resolve(matches: boolean): void;
  reject(reason: unknown): void;
}

// Measured: some 75 ms for 1,024 rounds in JavaScript. What is measured here takes its place.
const firstMsPerRound = 0.07;

/**
 * Spreads checks over runners, each of which does one at a time; the others wait in order of arrival. One whose turn would
 * come only after `waitMs` is refused at once, and one that nobody waits for any more leaves.
 *
 * @param options.runners at least one
 */
export function createBcryptChecks({
  runners,
  waitMs,
  clock,
}: {
  runners: readonly BcryptRunner[];
  waitMs: number;
  clock: Clock;
}): BcryptCheck {
  const idle = [...runners];
  const waiting = new Set<Job>();
  let roundsAhead = 0;
  let msPerRound = firstMsPerRound;

  async function run(runner: BcryptRunner, { password, hash, resolve, reject }: Job): Promise<void> {
    const began = clock.monotonic();
    try {
      resolve(await runner({ password, hash: hash.text }));
      msPerRound = 0.8 * msPerRound + (0.2 * (clock.monotonic() - began)) / hash.rounds;
    } catch (error) {
      reject(error);
    }
    roundsAhead -= hash.rounds;
    idle.push(runner);
    next();
  }

  function next(): void {
    const [job] = waiting;
    const runner = job && idle.pop();
    if (!job || !runner) return;
    waiting.delete(job);
    job.begins();
    void run(runner, job);
  }

  return (password, hash, signal) => {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (idle.length === 0 && (roundsAhead * msPerRound) / runners.length > waitMs) {
      const message = 'too many passwords are waiting to be checked; try again in a moment';
      return Promise.reject(new ProxyCacheError('too-many-requests', message));
    }
    return new Promise<boolean>((resolve, reject) => {
      const leave = () => {
        waiting.delete(job);
        roundsAhead -= hash.rounds;
        reject(signal.reason);
      };
      const begins = () => signal.removeEventListener('abort', leave);
      const job: Job = { password, hash, begins, resolve, reject };
      signal.addEventListener('abort', leave, { once: true });
      roundsAhead += hash.rounds;
      waiting.add(job);
      next();
    });
  };
}
