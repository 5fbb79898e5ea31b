import type { Pending, WaitingChange } from './record-changes.ts';

/** Changes on their way to the store, by the record's key: one save after the other, and what comes meanwhile shares the next. */
export interface PendingSaves<T> {
  /**
   * Resolves when the change is in the store, or was given up. Never rejects.
   *
   * @param before changes that the store has not taken before; none where a save of the key is under way
   * @param isNews whether readers of the record wait for it
   */
  add(key: string, change: WaitingChange<T>, how: { before: WaitingChange<T>[]; isNews: boolean }): Promise<void>;
  /** Saves what no save is under way for. As {@link add}. */
  start(key: string, changes: WaitingChange<T>[]): Promise<void>;
  /** What the store has not taken yet; `undefined` where no save is under way. */
  changes(key: string): readonly WaitingChange<T>[] | undefined;
  /** The end of the last save that is under way or waits. */
  last(key: string): Promise<void> | undefined;
  /** The end of the save that readers of the record wait for. */
  news(key: string): Promise<void> | undefined;
  /** Resolves when none is under way. */
  settled(): Promise<void>;
}

/**
 * @param parts.save takes what it has brought into the store from the changes. Never rejects
 * @param parts.left gets what is left of them at the end
 */
export function createPendingSaves<T>(parts: {
  save(key: string, waiting: Pending<T>): Promise<void>;
  left(key: string, changes: WaitingChange<T>[]): void;
}): PendingSaves<T> {
  const pending = new Map<string, Pending<T>>();

  function start(key: string, changes: WaitingChange<T>[]): Promise<void> {
    const started: Pending<T> = { changes, running: Promise.resolve(), next: undefined, news: undefined };
    pending.set(key, started);
    started.running = parts.save(key, started).then(() => finish(key, started));
    return started.running;
  }

  function chained(key: string, waiting: Pending<T>): Promise<void> {
    return waiting.running.then(() => {
      waiting.running = waiting.next ?? waiting.running;
      waiting.next = undefined;
      return parts.save(key, waiting).then(() => finish(key, waiting));
    });
  }

  function finish(key: string, waiting: Pending<T>): void {
    if (waiting.next !== undefined) return;
    pending.delete(key);
    if (waiting.changes.length > 0) parts.left(key, waiting.changes);
  }

  function save(key: string, change: WaitingChange<T>, before: WaitingChange<T>[]): Promise<void> {
    const waiting = pending.get(key);
    if (!waiting) return start(key, [...before, change]);
    waiting.changes.push(change);
    waiting.next ??= chained(key, waiting);
    return waiting.next;
  }

  const last = (key: string): Promise<void> | undefined => {
    const waiting = pending.get(key);
    return waiting?.next ?? waiting?.running;
  };

  return {
    add(key, change, { before, isNews }) {
      const saving = save(key, change, before);
      const waiting = pending.get(key);
      if (!isNews || !waiting) return saving;
      waiting.news = saving;
      return saving.then(() => {
        if (waiting.news === saving) waiting.news = undefined;
      });
    },
    start,
    changes: (key) => pending.get(key)?.changes,
    last,
    // Asked on the way of every answer from memory, when hardly ever anything is under way.
    news: (key) => (pending.size === 0 ? undefined : pending.get(key)?.news),
    async settled() {
      while (pending.size > 0) await Promise.all([...pending.keys()].map(last));
    },
  };
}
