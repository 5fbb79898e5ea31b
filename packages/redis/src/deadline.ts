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
      forget?.();
      signal?.removeEventListener('abort', leave);
    };
    const stop = afterRunning(clock, ms, () => {
      finish();
      reject(late());
    });
    // Not in steps of its own, which would make the deadline later than one of the same length without it.
    const forget = halfway && clock.after(ms / 2, halfway);
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
