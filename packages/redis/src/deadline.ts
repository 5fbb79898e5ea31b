import { setMaxListeners } from 'node:events';
import type { Clock } from '@proxycache/core';

/** In how many steps a deadline is waited for, so that what is lost to a stall is at most one of them. */
const steps = 4;

/**
 * Calls `fn` after `ms` in which this process ran; the answer cancels it. A process that stands still (a blocked event
 * loop, a laptop asleep) finds its timers due before the answers that came meanwhile: each step counts at most what it
 * was set to, and the last one leaves a turn of the loop to those answers.
 */
export function countdown(clock: Clock, ms: number, fn: () => void): () => void {
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

/** How long something may take, and who waits for it. */
export interface Deadline {
  clock: Clock;
  ms: number;
  signal: AbortSignal | undefined;
  /** Called at the deadline; gives what to reject with. */
  late: () => unknown;
}

/** The work's outcome; rejects at the deadline, and with the signal's reason when that fires. */
export function within<T>({ clock, ms, signal, late }: Deadline, work: () => Promise<T>): Promise<T> {
  signal?.throwIfAborted();
  return new Promise<T>((resolve, reject) => {
    const finish = () => {
      stop();
      signal?.removeEventListener('abort', leave);
    };
    const stop = countdown(clock, ms, () => {
      finish();
      reject(late());
    });
    const leave = () => {
      finish();
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', leave, { once: true });
    work().finally(finish).then(resolve, reject);
  });
}

/** Work that waits for many answers at once: a signal of its own, that fires when the caller's does. */
export async function withManyWaiting<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const controller = new AbortController();
  // Node warns of more than ten listeners on the caller's.
  setMaxListeners(0, controller.signal);
  const leave = () => controller.abort(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await work(controller.signal);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
