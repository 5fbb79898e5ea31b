import { setMaxListeners } from 'node:events';
import { ProxyCacheError } from './errors.ts';

/** Work that its caller may end, and that ends with the cache. */
export interface UntilClosed {
  /**
   * @param signal the caller's, if it has one
   * @param work gets the signal that ends it
   * @throws what the work does; ProxyCacheError `closed` when the cache is
   */
  run<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /** Ends what runs, and resolves when it has. Never rejects. */
  close(): Promise<void>;
}

export function createUntilClosed(): UntilClosed {
  const closing = new AbortController();
  const running = new Set<Promise<unknown>>();
  return {
    async run(given, work) {
      closing.signal.throwIfAborted();
      const signal = AbortSignal.any([...(given ? [given] : []), closing.signal]);
      // As many listen to it as the work begins things at a time, and as wait for their turn.
      setMaxListeners(0, signal);
      const result = work(signal);
      const ended = result.catch(() => undefined);
      running.add(ended);
      return await result.finally(() => running.delete(ended));
    },
    async close() {
      closing.abort(new ProxyCacheError('closed', 'the cache is closed'));
      await Promise.all(running);
    },
  };
}
