import type { Clock } from '../runtime/clock.ts';
import type { Coordinator } from '../store/coordinator.ts';

/** Messages between processes, each about one key. */
export interface News {
  /** Tells all processes; what cannot be told is not told again, as nobody may rely on it. */
  tell(key: string): void;
  /** Calls `fn` for each message about the key, until the answer is called. */
  listen(key: string, fn: () => void): () => void;
  /**
   * Resolves at the next message about the key, or when it is time to look without one. Rejects with the signal's reason.
   *
   * @returns whether there was a message
   */
  wait(key: string, signal: AbortSignal): Promise<boolean>;
  /** Resolves when all is told. */
  close(): Promise<void>;
}

/** Messages may be lost, so whoever waits for one looks by itself. */
const lookAgainMs = 500;

export function createNews({
  coordinator,
  clock,
  channel,
}: {
  coordinator: Coordinator;
  clock: Clock;
  channel: string;
}): News {
  const listeners = new Map<string, Set<() => void>>();
  const telling = new Set<Promise<void>>();
  const unsubscribe = coordinator.subscribe(channel, (key) => {
    for (const fn of [...(listeners.get(key) ?? [])]) fn();
  });

  function listen(key: string, fn: () => void): () => void {
    const set = listeners.get(key) ?? new Set();
    listeners.set(key, set.add(fn));
    return () => {
      set.delete(fn);
      if (set.size === 0 && listeners.get(key) === set) listeners.delete(key);
    };
  }

  return {
    tell(key) {
      const told = coordinator.publish(channel, key).catch(() => undefined);
      telling.add(told);
      void told.finally(() => telling.delete(told));
    },
    listen,
    wait(key, signal) {
      return new Promise((resolve, reject) => {
        const settle = (act: () => void) => {
          cancel();
          stop();
          signal.removeEventListener('abort', leave);
          act();
        };
        const leave = () => settle(() => reject(signal.reason));
        const cancel = clock.after(lookAgainMs, () => settle(() => resolve(false)));
        const stop = listen(key, () => settle(() => resolve(true)));
        signal.addEventListener('abort', leave, { once: true });
        if (signal.aborted) leave();
      });
    },
    async close() {
      await Promise.all(telling);
      unsubscribe();
    },
  };
}
