/** Lets work begin while there is room, in the order it came. */
export type Turns = <T>(signal: AbortSignal, work: () => Promise<T>) => Promise<T>;

/** @param most how many pieces of work run at a time */
export function createTurns(most: number): Turns {
  const waiting = new Set<() => void>();
  let running = 0;

  function next(): void {
    running--;
    const [first] = waiting;
    if (first === undefined) return;
    waiting.delete(first);
    first();
  }

  async function enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (running >= most || waiting.size > 0) {
      await new Promise<void>((resolve, reject) => {
        const leave = () => {
          waiting.delete(begin);
          reject(signal.reason);
        };
        const begin = () => {
          signal.removeEventListener('abort', leave);
          running++;
          resolve();
        };
        waiting.add(begin);
        signal.addEventListener('abort', leave, { once: true });
      });
      return;
    }
    running++;
  }

  return async (signal, work) => {
    await enter(signal);
    try {
      return await work();
    } finally {
      next();
    }
  };
}

/** Runs work of one key a piece at a time. */
export type KeyedTurns = <T>(key: string, signal: AbortSignal, work: () => Promise<T>) => Promise<T>;

export function createKeyedTurns(): KeyedTurns {
  const keys = new Map<string, { turns: Turns; users: number }>();
  return async (key, signal, work) => {
    const entry = keys.get(key) ?? { turns: createTurns(1), users: 0 };
    keys.set(key, entry);
    entry.users++;
    try {
      return await entry.turns(signal, work);
    } finally {
      entry.users--;
      if (entry.users === 0) keys.delete(key);
    }
  };
}
