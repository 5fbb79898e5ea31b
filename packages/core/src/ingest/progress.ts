import type { SpoolState } from './spool-view.ts';

/** How far a transfer is, and who waits for it to get further. */
export interface Progress {
  state(): SpoolState;
  /** Makes it another state, and wakes all who wait. */
  enter(next: Partial<SpoolState>): void;
  /** Calls `wake` once when the state is another than `seen`, unless the answer is called before. */
  wait(seen: SpoolState, wake: () => void): () => void;
  /** Resolves when the state is another than `seen`; rejects when the signal fires. */
  changed(seen: SpoolState, signal: AbortSignal): Promise<void>;
}

export function createProgress(): Progress {
  let state: SpoolState = { contiguous: 0, phase: 'filling', epoch: 0 };
  let waiting = new Set<() => void>();

  function wait(seen: SpoolState, wake: () => void): () => void {
    if (state !== seen) {
      wake();
      return () => undefined;
    }
    const waiters = waiting;
    waiters.add(wake);
    return () => void waiters.delete(wake);
  }

  return {
    state: () => state,
    enter(next) {
      state = { ...state, ...next };
      const woken = waiting;
      waiting = new Set();
      for (const wake of woken) wake();
    },
    wait,
    changed(seen, signal) {
      if (state !== seen) return Promise.resolve();
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const leave = () => {
          cancel();
          reject(signal.reason);
        };
        const cancel = wait(seen, () => {
          signal.removeEventListener('abort', leave);
          resolve();
        });
        signal.addEventListener('abort', leave, { once: true });
      });
    },
  };
}
