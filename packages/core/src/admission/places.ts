import { abortable } from '../runtime/collapse.ts';
import { createDeferred } from '../runtime/deferred.ts';

/** Lets so many work at a time, the others in the order they came. */
export interface Places {
  /** Works when it is its turn. @throws the signal's reason when it fires before that */
  run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T>;
}

export function createPlaces(most: number): Places {
  const waiting = new Set<() => void>();
  let taken = 0;

  async function take(signal: AbortSignal): Promise<void> {
    if (taken < most) {
      taken++;
      return;
    }
    const turn = createDeferred<void>();
    const go = () => turn.resolve();
    waiting.add(go);
    try {
      await abortable(turn.promise, signal);
    } catch (error) {
      // It was given a place in the same moment: the next one has it.
      if (!waiting.delete(go)) leave();
      throw error;
    }
  }

  function leave(): void {
    const [next] = waiting;
    if (next === undefined) {
      taken--;
      return;
    }
    waiting.delete(next);
    next();
  }

  return {
    async run(work, signal) {
      signal.throwIfAborted();
      await take(signal);
      try {
        return await work();
      } finally {
        leave();
      }
    },
  };
}
