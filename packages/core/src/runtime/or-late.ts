import type { Clock } from './clock.ts';

/**
 * What the work gives, or after `ms` what `late` makes of its not being there yet. The work goes on; what becomes of it
 * then is nobody's failure.
 */
export function orLate<T>(
  work: Promise<T>,
  { clock, ms, late }: { clock: Clock; ms: number; late(): T | Promise<T> },
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => resolve(Promise.resolve().then(late)));
    work.then(resolve, reject).finally(cancel);
  });
}
