/** The time and timers, passed in wherever they are needed, so that tests move them by hand. */
export interface Clock {
  /** Wall time in ms since the epoch: for what is stored and shown. May step backwards. */
  now(): number;
  /** Ms since an arbitrary start: for deadlines and durations. Never steps backwards. */
  monotonic(): number;
  /**
   * Calls `fn` once, when `monotonic()` has moved on by `ms` and no earlier; the answer cancels it. A waiting timer never
   * keeps the process alive.
   */
  after(ms: number, fn: () => void): () => void;
}

// Node's setTimeout fires at once for anything longer than a signed 32-bit number of ms: longer waits go in steps.
const longestTimeout = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fn) {
    const at = performance.now() + ms;
    let timer: NodeJS.Timeout;
    // Node cuts fractions off, and counts from when its loop last looked at the time: a timer may be up to 2 ms early.
    const wake = () => (performance.now() < at ? wait() : fn());
    const wait = () => {
      const left = Math.ceil(at - performance.now());
      timer = setTimeout(wake, Math.min(Math.max(left, 0), longestTimeout));
      timer.unref();
    };
    wait();
    return () => clearTimeout(timer);
  },
};

/** Keeps the process until the answer is called: for what waits for a timer alone, and is waited for. */
export function holdProcess(): () => void {
  const timer = setInterval(() => undefined, longestTimeout);
  return () => clearInterval(timer);
}
