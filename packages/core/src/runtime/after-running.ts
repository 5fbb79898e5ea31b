import type { Clock } from './clock.ts';

/** In how many steps a time is waited for, so that what is lost to a stall is at most one of them. */
const steps = 8;

/**
 * Calls `fn` after `ms` in which this process ran; the answer cancels it. A process that stands still (a blocked event
 * loop, SIGSTOP, a laptop asleep) finds its timers due before the I/O that ended meanwhile, so each step counts at most
 * what it was set to, and the last one leaves a turn of the loop to that I/O.
 */
export function afterRunning(clock: Clock, ms: number, fn: () => void): () => void {
  const longest = Math.max(Math.floor(ms / steps), 1);
  let cancel = (): void => undefined;
  const wait = (left: number) => {
    if (left <= 0) return fn();
    const step = left > 1 ? Math.min(longest, left - 1) : left;
    cancel = clock.after(step, () => wait(left - step));
  };
  wait(ms);
  return () => cancel();
}
