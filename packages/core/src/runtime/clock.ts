/** The time and timers, passed in wherever they are needed, so that tests move them by hand. */
export interface Clock {
  /** Wall time in ms since the epoch: for what is stored and shown. May step backwards. */
  now(): number;
  /** Ms since an arbitrary start: for deadlines and durations. Never steps backwards. */
  monotonic(): number;
  /** Calls `fn` once after `ms`; the answer cancels it. A waiting timer never keeps the process alive. */
  after(ms: number, fn: () => void): () => void;
}

// Node's setTimeout fires at once for anything longer than a signed 32-bit number of ms: longer waits go in steps.
const longestTimeout = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fn) {
    let timer: NodeJS.Timeout;
    const wait = (left: number) => {
      const step = Math.min(Math.max(left, 0), longestTimeout);
      timer = setTimeout(() => (left > step ? wait(left - step) : fn()), step);
      timer.unref();
    };
    wait(ms);
    return () => clearTimeout(timer);
  },
};
