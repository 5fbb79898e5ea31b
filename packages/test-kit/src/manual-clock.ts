import type { Clock } from '@proxycache/core';

/** A clock that stands still until a test moves it. */
export interface ManualClock extends Clock {
  /**
   * Moves wall and monotonic time on by `ms`. Timers that come due are fired in order of their instants, each at its
   * own time; between them, and before and after, promises and sockets get their turn. Timers set meanwhile count too.
   */
  advance(ms: number): Promise<void>;
  /** Steps the wall clock to `now` (ms since the epoch), also backwards. Monotonic time and timers do not notice. */
  set(now: number): void;
  /** How many timers wait. */
  pending(): number;
  /** How far off the next timer is, in ms; `undefined` when none waits. */
  next(): number | undefined;
  /** How far off that timer was when it was set, in ms. */
  nextDelay(): number | undefined;
  /** Resolves as soon as at least `count` timers wait: the code under test has come to the point where it sleeps. */
  untilPending(count: number): Promise<void>;
}

type Timer = { due: number; delay: number; fn: () => void };

// Taken at load time, so that a test's fake timers do not stop the turn of the loop that `advance` waits for.
const { setImmediate } = globalThis;
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/**
 * Makes a manual clock.
 *
 * @param options.now wall time at the start, in ms since the epoch. Default 2026-01-01T00:00:00Z
 */
export function manualClock(options: { now?: number } = {}): ManualClock {
  let startedAt = options.now ?? Date.UTC(2026, 0, 1);
  let monotonic = 0;
  const timers = new Set<Timer>();
  const waiting = new Set<{ count: number; resolve: () => void }>();

  function earliest(until: number): Timer | undefined {
    let first: Timer | undefined;
    // A set keeps the order of insertion, so timers of one instant fire in the order they were set.
    for (const timer of timers) {
      if (timer.due <= until && (first === undefined || timer.due < first.due)) first = timer;
    }
    return first;
  }

  return {
    // Not moved on step by step: fractions would add up to less than the time that passed.
    now: () => startedAt + monotonic,
    monotonic: () => monotonic,
    after(ms, fn) {
      const timer = { due: monotonic + Math.max(ms, 0), delay: ms, fn };
      timers.add(timer);
      for (const waiter of waiting) {
        if (timers.size < waiter.count) continue;
        waiting.delete(waiter);
        waiter.resolve();
      }
      return () => void timers.delete(timer);
    },
    async advance(ms) {
      if (!(ms >= 0)) throw new Error(`advance: expected ms of 0 or more, received ${ms}; set() steps the wall back`);
      const until = monotonic + ms;
      await turn();
      for (let timer = earliest(until); timer; timer = earliest(until)) {
        timers.delete(timer);
        monotonic = Math.max(timer.due, monotonic);
        timer.fn();
        await turn();
      }
      monotonic = Math.max(until, monotonic);
      await turn();
    },
    set(now) {
      startedAt = now - monotonic;
    },
    pending: () => timers.size,
    next() {
      const timer = earliest(Number.POSITIVE_INFINITY);
      return timer && Math.max(timer.due - monotonic, 0);
    },
    nextDelay: () => earliest(Number.POSITIVE_INFINITY)?.delay,
    untilPending: (count) =>
      timers.size >= count ? Promise.resolve() : new Promise((resolve) => waiting.add({ count, resolve })),
  };
}
