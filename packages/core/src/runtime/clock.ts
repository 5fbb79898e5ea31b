/** The time and timers, passed in wherever they are needed, so that tests move them by hand. */
export interface Clock {
  /** Wall time in ms since the epoch: for what is stored and shown. May step backwards. */
  now(): number;
  /** Ms since an arbitrary start: for deadlines and durations. Never steps backwards. */
  monotonic(): number;
  /** Calls `fn` once after `ms`; the answer cancels it. A waiting timer never keeps the process alive. */
  after(ms: number, fn: () => void): () => void;
}

// Node's setTimeout fires at once for anything longer than a signed 32-bit number of ms.
const longestTimeout = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, Math.min(Math.max(ms, 0), longestTimeout));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
