import type { Clock } from '../runtime/clock.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import { nameOf, type Use, useKey } from './use.ts';
import type { UseRecords } from './use-records.ts';

/** Uses that the store has not been told of yet. It is told of all together, and again where it failed. */
export interface UnsavedUses {
  get(name: string): Use | undefined;
  add(use: Use): void;
  /** It waits no more. */
  remove(use: Use): void;
  /** Resolves when all is in the store, or given up: what it does not take is tried once more, and never again. */
  settled(): Promise<void>;
}

/** What {@link createUnsavedUses} works with. */
export interface UnsavedUsesParts {
  records: Pick<UseRecords, 'save'>;
  /** How many may wait. */
  most: number;
  clock: Clock;
  observe(event: StoreEvent): void;
}

/** With so many waiting nobody waits for the time. */
const mostPutOff = 10_000;

/** Of the minute that a crash may cost the rest is for the store. */
const saveAfterMs = 45_000;

/** A thing that is used all the time is written ahead: its record need not change while that lasts. */
const aheadMs = 5 * 60_000;

const firstRetryMs = 1_000;
const longestRetryMs = 60_000;

export function createUnsavedUses({ records, most, clock, observe }: UnsavedUsesParts): UnsavedUses {
  const waiting = new Map<string, Use>();
  let saving: Promise<void> | undefined;
  let cancelTimer: (() => void) | undefined;
  let retryMs: number | undefined;
  let isTold = false;

  function failed({ used }: Use, error: unknown): void {
    observe(storeFailed('metadata-set', useKey(used), error));
  }

  function remove(use: Use): void {
    if (!use.waits) return;
    use.waits = false;
    waiting.delete(nameOf(use.used));
  }

  function add(use: Use): void {
    const name = nameOf(use.used);
    const other = waiting.get(name);
    // Memory had forgotten the one, and somebody held it.
    if (other) {
      use.at = Math.max(use.at, other.at);
      other.waits = false;
    }
    use.waits = true;
    waiting.set(name, use);
    if (waiting.size > most) dropOldest();
    startTimer();
    if (waiting.size >= mostPutOff && retryMs === undefined) void save();
  }

  function dropOldest(): void {
    const [oldest] = waiting.values();
    if (!oldest) return;
    remove(oldest);
    if (!isTold) failed(oldest, 'given up: the last uses of too many things wait for the store');
    isTold = true;
  }

  function startTimer(): void {
    cancelTimer ??= clock.after(retryMs ?? saveAfterMs, () => {
      cancelTimer = undefined;
      void save();
    });
  }

  function stopTimer(): void {
    cancelTimer?.();
    cancelTimer = undefined;
  }

  /** One round after the other. Never rejects. */
  function save(): Promise<void> {
    saving ??= saveAll().finally(() => {
      saving = undefined;
      if (waiting.size > 0) startTimer();
    });
    return saving;
  }

  async function saveAll(): Promise<void> {
    const batch = [...waiting.values()];
    const left = new Set(batch);
    for (const use of batch) remove(use);
    const wanted = batch.map((use) => ({ key: useKey(use.used), at: use.at + (isSteady(use) ? aheadMs : 0) }));
    const written = (index: number, at: number) => {
      const use = batch[index] as Use;
      use.savedAt = at;
      if (at === wanted[index]?.at) use.wroteAt = at;
      left.delete(use);
    };
    try {
      await records.save(wanted, written, new AbortController().signal);
      retryMs = undefined;
      isTold = false;
    } catch (error) {
      const [first] = left;
      if (first) failed(first, error);
      retryMs = Math.min((retryMs ?? firstRetryMs / 2) * 2, longestRetryMs);
      for (const use of left) if (!use.waits) add(use);
    }
  }

  return {
    get: (name) => waiting.get(name),
    add,
    remove,
    async settled() {
      stopTimer();
      await saving;
      await save();
      stopTimer();
      for (const use of waiting.values()) remove(use);
    },
  };
}

/** Whether it was used again soon after it was written down. */
function isSteady({ at, savedAt }: Use): boolean {
  return at - savedAt <= 2 * saveAfterMs;
}
