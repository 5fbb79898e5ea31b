import { afterRunning, type Clock, ProxyCacheError } from '@proxycache/core';

/** The calls of a store that are under way. */
export interface Calls {
  /** Runs a call. @throws ProxyCacheError `closed` after `end` */
  run<T>(call: () => Promise<T>): Promise<T>;
  /** Takes no more calls; resolves when none is under way, or at the deadline. */
  end(): Promise<void>;
}

/** @param withinMs how long their end is waited for */
export function createCalls(clock: Clock, withinMs: number): Calls {
  const underWay = new Set<Promise<unknown>>();
  let ended = false;
  return {
    async run(call) {
      if (ended) throw new ProxyCacheError('closed', 'this store in Redis was closed');
      const running = call();
      underWay.add(running);
      try {
        return await running;
      } finally {
        underWay.delete(running);
      }
    },
    async end() {
      ended = true;
      await new Promise<void>((resolve) => {
        const stop = afterRunning(clock, withinMs, resolve);
        void Promise.allSettled(underWay).then(() => {
          stop();
          resolve();
        });
      });
    },
  };
}
