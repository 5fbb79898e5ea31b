/**
 * Runs work so that no two pieces with the same key overlap, in the order they came. Whoever's signal fires while it
 * waits leaves with the signal's reason and its work never starts; work that started is waited for.
 */
export type KeyedLock = <T>(key: string, signal: AbortSignal, work: () => Promise<T>) => Promise<T>;

/** Makes a lock that knows this process only. Work that fails lets the next one go on. */
export function createKeyedLock(): KeyedLock {
  const tails = new Map<string, Promise<void>>();
  return (key, signal, work) =>
    new Promise((resolve, reject) => {
      const leave = () => reject(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
      const turn = async () => {
        signal.removeEventListener('abort', leave);
        if (signal.aborted) return reject(signal.reason);
        await work().then(resolve, reject);
      };
      const tail = (tails.get(key) ?? Promise.resolve()).then(turn);
      tails.set(key, tail);
      void tail.then(() => {
        if (tails.get(key) === tail) tails.delete(key);
      });
    });
}
