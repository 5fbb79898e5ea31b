import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';

/** A call of a store. */
export interface StoreCall<T> {
  /** What is done, such as `open`. */
  operation: string;
  /** Whoever waits for it. Default: somebody who never leaves. */
  signal?: AbortSignal;
  /** In ms. Default: the deadline's own. */
  withinMs?: number;
  /** Whether the operation is left alone for a while after it took too long. Default true. */
  rests?: boolean;
  /** Gets an outcome that nobody waits for any more, to let go of it. */
  late?: (value: T) => void;
}

/** Runs the calls of one store, none of them for longer than it may take. */
export interface StoreDeadline {
  /**
   * The call's outcome. Its signal fires when the caller's does and at the deadline; whether the store heeds it or not,
   * the promise rejects then.
   *
   * @throws ProxyCacheError `storage-failed` at the deadline, and at once while the operation rests
   */
  run<T>(call: StoreCall<T>, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

/** How long an operation that took too long is left alone; then one caller finds out whether it is back. */
const restMs = 10_000;

/** @param withinMs how long a call may take */
export function createStoreDeadline(clock: Clock, withinMs: number): StoreDeadline {
  const restsUntil = new Map<string, number>();

  /** Without this each of many pulls would wait for a store that hangs. */
  function refuseWhileResting(operation: string, ms: number): void {
    const until = restsUntil.get(operation);
    if (until === undefined) return;
    const now = clock.monotonic();
    if (now < until) {
      throw new ProxyCacheError('storage-failed', `the store did not answer "${operation}" in time; it is left alone`);
    }
    // The others keep away while this caller tries.
    restsUntil.set(operation, now + ms);
  }

  return {
    async run<T>(
      { operation, signal, withinMs: ms = withinMs, rests = true, late }: StoreCall<T>,
      work: (signal: AbortSignal) => Promise<T>,
    ): Promise<T> {
      signal?.throwIfAborted();
      if (rests) refuseWhileResting(operation, ms);
      const controller = new AbortController();
      return await new Promise<T>((resolve, reject) => {
        let over = false;
        const finish = () => {
          over = true;
          cancelTimer();
          signal?.removeEventListener('abort', leave);
        };
        const giveUp = (reason: unknown) => {
          finish();
          controller.abort(reason);
          reject(reason);
        };
        const leave = () => giveUp(signal?.reason);
        const cancelTimer = clock.after(ms, () => {
          if (rests) restsUntil.set(operation, clock.monotonic() + restMs);
          giveUp(new ProxyCacheError('storage-failed', `the store did not answer "${operation}" within ${ms} ms`));
        });
        signal?.addEventListener('abort', leave, { once: true });
        const answered = (settle: () => void) => {
          if (rests) restsUntil.delete(operation);
          if (over) return;
          finish();
          settle();
        };
        Promise.resolve()
          .then(() => work(controller.signal))
          .then(
            (value) => {
              if (over) late?.(value);
              answered(() => resolve(value));
            },
            (error) => (over ? undefined : answered(() => reject(error))),
          );
      });
    },
  };
}
