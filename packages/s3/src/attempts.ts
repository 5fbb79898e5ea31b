import { type Clock, pause } from '@proxycache/core';
import { mayPass } from './s3-failure.ts';

/** How often one part is sent, with the first. */
const mostAttempts = 5;
const firstPauseMs = 200;
const longestPauseMs = 5_000;

/** Something that may be tried again. */
export interface Attempts {
  clock: Clock;
  signal: AbortSignal;
  /** Whether a failure may pass. Default: {@link mayPass}. */
  passes?: (error: unknown) => boolean;
  /** Is told of each failure but the last. */
  failed(failure: { attempt: number; inMs: number; error: Error }): void;
}

/** The outcome of the first attempt that succeeds. Attempts go further and further apart, by chance, so that not all come at once. */
export async function attempts<T>(
  { clock, signal, passes = mayPass, failed }: Attempts,
  work: (attempt: number) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt);
    } catch (error) {
      signal.throwIfAborted();
      if (attempt === mostAttempts || !passes(error)) throw error;
      const longest = Math.min(firstPauseMs * 2 ** (attempt - 1), longestPauseMs);
      const inMs = Math.round(longest * (0.5 + Math.random() / 2));
      failed({ attempt, inMs, error: error instanceof Error ? error : new Error(String(error)) });
      await pause(inMs, clock, signal);
    }
  }
}
