import { abortable } from './collapse.ts';

/** Runs so much work at a time, in the order in which it came; see {@link createSlots}. */
export interface Slots {
  /** Rejects with the signal's reason where it fires before the work's turn has come. */
  run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T>;
}

/** @param most at a time, 1 or more */
export function createSlots(most: number): Slots {
  const waiting = new Set<() => void>();
  let running = 0;

  async function enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (running < most) {
      running++;
      return;
    }
    let go = () => {};
    const turn = new Promise<void>((resolve) => {
      go = resolve;
    });
    waiting.add(go);
    try {
      await abortable(turn, signal);
    } catch (error) {
      // A turn that came in the same instant is another's.
      if (!waiting.delete(go)) leave();
      throw error;
    }
  }

  function leave(): void {
    const [next] = waiting;
    if (!next) {
      running--;
      return;
    }
    waiting.delete(next);
    next();
  }

  return {
    async run(work, signal) {
      await enter(signal);
      try {
        return await work();
      } finally {
        leave();
      }
    },
  };
}
