import type { Clock } from '@proxycache/core';

/**
 * What the work gives, if it is done in time and somebody still waits for it.
 *
 * @param signal fires when nobody does
 * @throws Error when it is late, and what the work throws
 */
export async function withinTime<T>(
  work: (signal: AbortSignal) => T | Promise<T>,
  { signal, ms, clock }: { signal: AbortSignal; ms: number; clock: Clock },
): Promise<T> {
  const late = new AbortController();
  const until = AbortSignal.any([signal, late.signal]);
  const cancel = clock.after(ms, () => late.abort(new Error(`it could not be told within ${ms} ms who asks`)));
  let stop: (() => void) | undefined;
  try {
    return await new Promise<T>((resolve, reject) => {
      stop = () => reject(until.reason);
      if (until.aborted) return stop();
      until.addEventListener('abort', stop, { once: true });
      // In a turn of its own, so that what is thrown at once ends here as well.
      Promise.resolve(until).then(work).then(resolve, reject);
    });
  } finally {
    cancel();
    // Node keeps a signal made of others for as long as somebody listens to it, and with it the work, and whose password it was.
    if (stop) until.removeEventListener('abort', stop);
  }
}
