import { setImmediate } from 'node:timers/promises';
import type { ManualClock } from '@proxycache/test-kit';

// Of every call to a store.
const storeDeadline = 3_000;

/**
 * What the work comes to, with the clock moved on whenever its next timer is one of those meant: so that waits pass, but
 * no time limit does while sockets are at work.
 *
 * @param isMeant by default waits before another try, which are below 5 s; that long a connection may take. The deadline of
 * a call to a store, which is at work, never is; another timer that has as long left may be
 */
export async function stepClock<T>(
  clock: ManualClock,
  work: Promise<T>,
  isMeant: (ms: number) => boolean = (ms) => ms < 5_000,
): Promise<T> {
  let over = false;
  const end = () => {
    over = true;
  };
  work.then(end, end);
  while (!over) {
    await setImmediate();
    const next = clock.next();
    const isOurs = clock.nextDelay() !== storeDeadline;
    if (next !== undefined && isOurs && isMeant(Math.round(next))) await clock.advance(next);
  }
  return await work;
}
