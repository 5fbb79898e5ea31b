import type { Clock } from '@proxycache/core';

/** In how many steps a deadline is waited for, so that what is lost to a stall is at most one of them. */
const steps = 4;

/** A wait under way. */
export interface Countdown {
  /** Begins it anew. */
  again(): void;
  stop(): void;
}

/**
 * Calls `fn` after `ms` in which this process ran. A process that stands still (a blocked event loop, a laptop asleep)
 * finds its timers due before the answers that came meanwhile: each step counts at most what it was set to, and the last
 * one leaves a turn of the loop to those answers.
 */
export function countdown(clock: Clock, ms: number, fn: () => void): Countdown {
  const longest = Math.max(Math.floor(ms / steps), 1);
  let left = ms;
  let cancel = (): void => undefined;
  const wait = () => {
    if (left <= 0) return fn();
    const step = left > 1 ? Math.min(longest, left - 1) : left;
    cancel = clock.after(step, () => {
      left -= step;
      wait();
    });
  };
  wait();
  return {
    again() {
      left = ms;
    },
    stop: () => cancel(),
  };
}

/** Resolves after `ms`. Rejects with the signal's reason as soon as the signal fires. */
export function pause(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const leave = () => {
      cancel();
      reject(signal.reason);
    };
    const cancel = clock.after(ms, () => {
      signal.removeEventListener('abort', leave);
      resolve();
    });
    signal.addEventListener('abort', leave, { once: true });
  });
}
