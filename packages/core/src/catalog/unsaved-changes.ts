import type { Clock } from '../runtime/clock.ts';
import { mapBounded } from '../store/map-bounded.ts';

/** Changes that a failing store did not take, by the record's key. They are tried again by themselves, in their order. */
export interface UnsavedChanges<C> {
  get(key: string): readonly C[];
  /** Hands over a key's changes, which then wait no more. */
  take(key: string): C[];
  /** Lets changes wait; of too many keys the one that was tried longest ago is dropped. */
  add(key: string, changes: C[]): void;
  /** Tries each key once more, and gives up what the store does not take, then and from now on: nothing waits any more. */
  flush(): Promise<void>;
}

/** What {@link createUnsavedChanges} works with. */
export interface UnsavedChangesParts {
  clock: Clock;
  /** How many keys may wait. */
  most: number;
  /** Takes a key's changes to the store; adds them again and says `false` where it fails. Never rejects. */
  retry(key: string): Promise<boolean>;
  dropped(key: string): void;
}

const firstRetryMs = 1_000;
const longestRetryMs = 60_000;
const retriesAtOnce = 8;

export function createUnsavedChanges<C>({ clock, most, retry, dropped }: UnsavedChangesParts): UnsavedChanges<C> {
  const waiting = new Map<string, C[]>();
  let retryMs = firstRetryMs;
  let cancelTimer: (() => void) | undefined;
  let round: Promise<void> | undefined;
  let isOver = false;

  async function retryAll(goesOn: (saved: boolean) => boolean): Promise<void> {
    let going = true;
    await mapBounded([...waiting.keys()], retriesAtOnce, async (key) => {
      // A change of its own may have taken it to the store meanwhile.
      if (!going || !waiting.has(key)) return;
      if (!goesOn(await retry(key))) going = false;
    });
  }

  /** One that fails ends the round: the store is away still. It waits behind the others then. */
  async function retryUntilFailure(): Promise<void> {
    let anySaved = false;
    await retryAll((saved) => {
      anySaved ||= saved;
      return saved;
    });
    retryMs = anySaved || waiting.size === 0 ? firstRetryMs : Math.min(retryMs * 2, longestRetryMs);
  }

  function startTimer(): void {
    if (cancelTimer || round || waiting.size === 0) return;
    cancelTimer = clock.after(retryMs, () => {
      cancelTimer = undefined;
      round = retryUntilFailure().finally(() => {
        round = undefined;
        startTimer();
      });
    });
  }

  function stopTimer(): void {
    cancelTimer?.();
    cancelTimer = undefined;
  }

  return {
    get: (key) => waiting.get(key) ?? [],
    take(key) {
      const changes = waiting.get(key) ?? [];
      waiting.delete(key);
      return changes;
    },
    add(key, changes) {
      if (isOver) return;
      waiting.set(key, changes);
      const [oldest] = waiting.keys();
      if (waiting.size > most && oldest !== undefined) {
        waiting.delete(oldest);
        dropped(oldest);
      }
      startTimer();
    },
    async flush() {
      await round;
      isOver = true;
      stopTimer();
      await retryAll(() => true);
      waiting.clear();
    },
  };
}
