/** Work that is under way, for whoever has to wait until there is none. */
export interface Running {
  /** Counts the work as under way until it has ended, however it does. */
  add(work: Promise<unknown>): void;
  /** Resolves when none is under way, begun meanwhile or before. */
  ended(): Promise<void>;
}

export function createRunning(): Running {
  const running = new Set<Promise<unknown>>();
  return {
    add(work) {
      running.add(work);
      const end = () => void running.delete(work);
      work.then(end, end);
    },
    async ended() {
      while (running.size > 0) await Promise.allSettled(running);
    },
  };
}
