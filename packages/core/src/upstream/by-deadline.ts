import type { Bytes } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';

/** Until when to wait: an instant on `clock.monotonic()`, and a signal. */
export interface Deadline {
  deadlineAt: number;
  signal: AbortSignal;
}

/** A body whose every chunk must be here by the deadline. For short ones, which are read before anything is answered. */
export function bytesByDeadline(bytes: Bytes, deadline: Deadline, parts: { clock: Clock; late: () => Error }): Bytes {
  const iterator = bytes[Symbol.asyncIterator]();
  const close = async () => {
    await iterator.return?.();
    return { done: true as const, value: undefined };
  };
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        try {
          return await byDeadline(deadline, parts, () => iterator.next());
        } catch (error) {
          await close();
          throw error;
        }
      },
      return: close,
    }),
  };
}

/** The work's outcome, or `late`'s error at the deadline, or the signal's reason; the work's signal fires then, too. */
export async function byDeadline<T>(
  { deadlineAt, signal }: Deadline,
  { clock, late }: { clock: Clock; late: () => Error },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const timer = new AbortController();
  const cancelTimer = clock.after(deadlineAt - clock.monotonic(), () => timer.abort(late()));
  const either = AbortSignal.any([signal, timer.signal]);
  try {
    either.throwIfAborted();
    return await abortable(work(either), either);
  } finally {
    cancelTimer();
  }
}
