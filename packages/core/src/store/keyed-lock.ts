/**
 * Runs work so that no two pieces with the same key overlap, in the order they came. Whoever's signal fires while it
 * waits leaves with the signal's reason and its work never starts; work that started is waited for.
 */
export type KeyedLock = <T>(key: string, signal: AbortSignal, work: () => Promise<T>) => Promise<T>;

/** Makes a lock that knows this process only. Work that fails lets the next one go on. */
export function createKeyedLock(): KeyedLock {
  const tails = new Map<string, Promise<void>>();

  function follow(key: string, tail: Promise<void>): void {
    tails.set(key, tail);
    void tail.then(() => {
      if (tails.get(key) === tail) tails.delete(key);
    });
  }

  return (key, signal, work) =>
    new Promise((resolve, reject) => {
      const turn = async () => {
        if (signal.aborted) reject(signal.reason);
        else await work().then(resolve, reject);
      };
      const before = tails.get(key);
      if (!before) return follow(key, turn());
      const leave = () => reject(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
      follow(
        key,
        before.then(() => {
          signal.removeEventListener('abort', leave);
          return turn();
        }),
      );
    });
}
