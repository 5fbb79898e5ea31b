import { afterRunning } from '../runtime/after-running.ts';
import type { Clock } from '../runtime/clock.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { storageFailure } from './file-system.ts';

/** A call of a store. */
export interface StoreCall<T> {
  /** What is done, such as `open`. */
  operation: string;
  /** Whoever waits for it. Default: somebody who never leaves. */
  signal?: AbortSignal;
  /** In ms. Default: the deadline's own. */
  withinMs?: number;
  /** Whether the operation is left alone for a while when it keeps taking too long. Default true. */
  rests?: boolean;
  /** Gets an outcome that nobody waits for any more, to let go of it. */
  late?: (value: T) => void;
}

/** What the work of a call is given. */
export interface CallWork {
  /** Fires when nobody waits for it any more. A lazy getter: to make one costs as much as the rest of a call. */
  readonly signal: AbortSignal;
}

/** Runs the calls of one store, none of them for longer than it may take. */
export interface StoreDeadline {
  /**
   * The call's outcome. Its signal fires when the caller's does and at the deadline; whether the store heeds it or not,
   * the promise rejects then.
   *
   * @throws ProxyCacheError as the store throws it, of any other error `storage-failed` (`storage-full` where the system
   * says so) with that as its cause; `storage-failed` at the deadline, and at once while the operation rests
   */
  run<T>(call: StoreCall<T>, work: (given: CallWork) => Promise<T>): Promise<T>;
}

/** How long an operation that keeps taking too long is left alone; then one caller finds out whether it is back. */
const restMs = 10_000;

/**
 * How many calls in a row take too long before that: of one operation, or of all together. A single one may have been this
 * host's or the network's doing.
 */
const missesToRest = 3;

/** @param withinMs how long a call may take */
export function createStoreDeadline(clock: Clock, withinMs: number): StoreDeadline {
  const restsUntil = new Map<string, number>();
  /** By operation, since it last answered. */
  const misses = new Map<string, number>();
  /** Of whatever operation, since any of them last answered. */
  const inARow = { misses: 0, operations: new Set<string>() };

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

  function missed(operation: string): void {
    const times = (misses.get(operation) ?? 0) + 1;
    misses.set(operation, times);
    inARow.misses++;
    inARow.operations.add(operation);
    const until = clock.monotonic() + restMs;
    // One that rested was tried by this caller, and is not back.
    if (times >= missesToRest || restsUntil.has(operation)) restsUntil.set(operation, until);
    if (inARow.misses < missesToRest) return;
    for (const late of inARow.operations) restsUntil.set(late, until);
  }

  function succeeded(operation: string): void {
    misses.delete(operation);
    restsUntil.delete(operation);
    inARow.misses = 0;
    inARow.operations.clear();
  }

  return {
    async run<T>(
      { operation, signal, withinMs: ms = withinMs, rests = true, late }: StoreCall<T>,
      work: (given: CallWork) => Promise<T>,
    ): Promise<T> {
      signal?.throwIfAborted();
      if (rests) refuseWhileResting(operation, ms);
      let controller: AbortController | undefined;
      let stopped: { reason: unknown } | undefined;
      const given: CallWork = {
        get signal() {
          controller ??= new AbortController();
          if (stopped) controller.abort(stopped.reason);
          return controller.signal;
        },
      };
      return await new Promise<T>((resolve, reject) => {
        let over = false;
        const finish = () => {
          over = true;
          cancelTimer();
          signal?.removeEventListener('abort', leave);
        };
        const giveUp = (reason: unknown) => {
          finish();
          stopped = { reason };
          controller?.abort(reason);
          reject(reason);
        };
        const leave = () => giveUp(signal?.reason);
        const cancelTimer = afterRunning(clock, ms, () => {
          if (rests) missed(operation);
          giveUp(new ProxyCacheError('storage-failed', `the store did not answer "${operation}" within ${ms} ms`));
        });
        signal?.addEventListener('abort', leave, { once: true });
        const answered = (settle: () => void) => {
          if (rests) succeeded(operation);
          if (over) return;
          finish();
          settle();
        };
        Promise.resolve()
          .then(() => work(given))
          .then(
            (value) => {
              if (over) late?.(value);
              answered(() => resolve(value));
            },
            // What a host's own store throws is a failure of that store, not a defect of ours.
            (error) => {
              if (!over) answered(() => reject(isProxyCacheError(error) ? error : storageFailure(operation, error)));
            },
          );
      });
    },
  };
}
