/** How one of several requests ended. */
export type Finish<K, T> = { of: K; value: T } | { of: K; error: unknown };

/** Requests for the same thing, of which one answer is enough. */
export interface Race<K, T> {
  /** Starts one; its signal fires when it has lost. */
  start(of: K, run: (lost: AbortSignal) => Promise<T>): void;
  /** Those that are under way. */
  running(): readonly K[];
  /** The first end of those under way. It stays so until it is taken. */
  first(): Promise<Finish<K, T>>;
  take(finish: Finish<K, T>): void;
  /** Ends all that are under way: they have lost, which says nothing of them. */
  end(): void;
}

/** Makes a race without requests. @param drop lets go of an answer that came too late */
export function createRace<K, T>(drop: (value: T) => void): Race<K, T> {
  const runs = new Map<K, { finish: Promise<Finish<K, T>>; lost: AbortController }>();

  return {
    start(of, run) {
      const lost = new AbortController();
      const finish = run(lost.signal).then(
        (value) => ({ of, value }),
        (error: unknown) => ({ of, error }),
      );
      runs.set(of, { finish, lost });
    },
    running: () => [...runs.keys()],
    first: () => Promise.race([...runs.values()].map(({ finish }) => finish)),
    take({ of }) {
      runs.delete(of);
    },
    end() {
      for (const { finish, lost } of runs.values()) {
        lost.abort(new DOMException('another endpoint answered', 'AbortError'));
        void finish.then((late) => 'value' in late && drop(late.value));
      }
      runs.clear();
    },
  };
}
