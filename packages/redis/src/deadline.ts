import { setMaxListeners } from 'node:events';
import { afterRunning, type Clock } from '@proxycache/core';

/** How long something may take, and who waits for it. */
export interface Deadline {
  clock: Clock;
  ms: number;
  signal: AbortSignal | undefined;
  /** Called when half of the time is over. */
  halfway?: () => void;
  /** Called at the deadline; gives what to reject with. */
  late: () => unknown;
}

/** The work's outcome; rejects at the deadline, and with the signal's reason when that fires. */
export function within<T>({ clock, ms, signal, halfway, late }: Deadline, work: () => Promise<T>): Promise<T> {
  signal?.throwIfAborted();
  return new Promise<T>((resolve, reject) => {
    const finish = () => {
      stop();
      signal?.removeEventListener('abort', leave);
    };
    const wait = (left: number, fn: () => void) => {
      stop = afterRunning(clock, left, fn);
    };
    let stop = (): void => undefined;
    const giveUp = () => {
      finish();
      reject(late());
    };
    const half = Math.floor(ms / 2);
    if (halfway === undefined) wait(ms, giveUp);
    else
      wait(half, () => {
        wait(ms - half, giveUp);
        halfway();
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
