import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';

/** Until when to wait: an instant on `clock.monotonic()`, and a signal. */
export interface Deadline {
  deadlineAt: number;
  signal: AbortSignal;
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
