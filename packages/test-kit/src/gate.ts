/** A point where requests or calls are held until the test lets them go. */
export interface Gate {
  /** Lets go everything that is held and all that comes later. */
  open(): void;
  /** Resolves when the first one has arrived. */
  readonly reached: Promise<void>;
  /** Resolves when `count` have arrived. */
  reachedBy(count: number): Promise<void>;
  /** How many have arrived. */
  readonly arrivals: number;
  /** Arrives, and waits for `open()`. Rejects with the signal's reason when `signal` fires first. */
  pass(signal?: AbortSignal): Promise<void>;
}

/** Makes a closed gate. */
export function gate(): Gate {
  const opened = signalOf<void>();
  const reached = signalOf<void>();
  const waiting = new Set<{ count: number; resolve: () => void }>();
  let arrivals = 0;
  return {
    open: () => opened.resolve(),
    reached: reached.promise,
    reachedBy: (count) =>
      arrivals >= count ? Promise.resolve() : new Promise((resolve) => waiting.add({ count, resolve })),
    get arrivals() {
      return arrivals;
    },
    pass(signal) {
      arrivals++;
      reached.resolve();
      for (const waiter of waiting) {
        if (arrivals < waiter.count) continue;
        waiting.delete(waiter);
        waiter.resolve();
      }
      return signal ? orAborted(opened.promise, signal) : opened.promise;
    },
  };
}

/** Lets a body pass a chunk at a time. */
export interface ChunkGate {
  readonly chunkBytes: number;
  /** Lets `chunks` more chunks pass. Default 1. */
  allow(chunks?: number): void;
  /** Lets everything pass from now on. */
  open(): void;
  /** Waits for the leave of one chunk. Rejects with the signal's reason when `signal` fires first. */
  pass(signal?: AbortSignal): Promise<void>;
}

/** Makes a gate for bodies that are sent in chunks of `chunkBytes`, none of them before it is allowed. */
export function chunkGate(chunkBytes: number): ChunkGate {
  let allowed = 0;
  const waiting = new Set<() => void>();
  function release(): void {
    for (const resolve of waiting) {
      if (allowed < 1) return;
      allowed--;
      waiting.delete(resolve);
      resolve();
    }
  }
  return {
    chunkBytes,
    allow(chunks = 1) {
      allowed += chunks;
      release();
    },
    open() {
      allowed = Number.POSITIVE_INFINITY;
      release();
    },
    pass(signal) {
      const leave = signalOf<void>();
      waiting.add(leave.resolve);
      release();
      if (!signal) return leave.promise;
      return orAborted(leave.promise, signal).finally(() => waiting.delete(leave.resolve));
    },
  };
}

function signalOf<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    }, reject);
  });
}
