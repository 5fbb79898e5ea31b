import { LRUCache } from 'lru-cache';
import type { StoreEvent } from '../store/events.ts';
import type { MetadataEntry, MetadataStore, SetOptions } from '../store/metadata-store.ts';
import { decodeRecord, encodeRecord, isDamaged } from './record-codec.ts';

/** What records of all kinds work with. */
export interface RecordsParts {
  metadata: MetadataStore;
  observe(event: StoreEvent): void;
}

/** Records of one kind, by key: in memory first, the store behind it. A failing store is an event, never a failure. */
export interface Records<T> {
  /** The record; `undefined` where there is none, or none that can be read. */
  get(key: string, signal: AbortSignal): Promise<T | undefined>;
  /**
   * Changes a record: `change` sees the latest one and gives the next, or `undefined` to leave it; it may be called
   * again on what another process wrote. `get` knows of it at once; the store has it when the promise resolves, which
   * never rejects.
   */
  update(key: string, change: Change<T>): Promise<void>;
  /** Resolves when every change under way is in the store, or failed. */
  settled(): Promise<void>;
}

type Change<T> = (record: T | undefined) => T | undefined;

const mostTries = 4;

/** `saved`: the store's text that the record is based on. */
type Held<T> = { record: T; saved: string | undefined };

/** What stands in the store, and the condition on which it may be replaced. */
type Stored<T> = {
  record: T | undefined;
  text: string | undefined;
  condition: Pick<SetOptions, 'ifVersion'>;
  isDamaged: boolean;
};

/** Changes that the store has not taken yet, and the saves that bring them there: one that runs, one that waits. */
type Pending<T> = { changes: Change<T>[]; running: Promise<void>; next: Promise<void> | undefined };

/** @param most how many records stay in memory */
export function createRecords<T extends object>({ metadata, observe }: RecordsParts, most: number): Records<T> {
  const held = new LRUCache<string, Held<T>>({ max: most });
  const pending = new Map<string, Pending<T>>();

  function failed(operation: string, key: string, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    observe({ type: 'store-failed', operation, subject: key, error: message });
  }

  /** Of what is damaged only that it is there. A later release's record throws, so that nothing overwrites it. */
  async function read(key: string, signal: AbortSignal): Promise<Stored<T>> {
    let entry: MetadataEntry | undefined;
    try {
      entry = await metadata.get(key, { signal });
      const record = entry && decodeRecord<T>(key, entry.value);
      return { record, text: entry?.value, condition: { ifVersion: entry?.version ?? 'absent' }, isDamaged: false };
    } catch (error) {
      if (!isDamaged(error)) throw error;
      failed('metadata-get', key, error);
      // What the store itself cannot read has no version that could be named.
      const condition = entry ? { ifVersion: entry.version } : {};
      return { record: undefined, text: entry?.value, condition, isDamaged: true };
    }
  }

  /** Brings the changes that wait into the store, on top of what others wrote there since. */
  async function save(key: string, { changes }: Pending<T>): Promise<void> {
    // Not a request's signal: what was learnt is kept also when whoever asked has left.
    const { signal } = new AbortController();
    for (let tries = 0; tries < mostTries; tries++) {
      const stored = await read(key, signal);
      const known = held.peek(key);
      const isBase = known !== undefined && (stored.isDamaged || known.saved === stored.text);
      const record = isBase ? known.record : applied(changes, stored.record);
      const taken = changes.length;
      if (record !== undefined) held.set(key, { record, saved: stored.text });
      const value = record && encodeRecord(record);
      if (value !== undefined && value !== stored.text) {
        const written = await metadata.set(key, value, { ...stored.condition, signal });
        if (!written) continue;
        const now = held.peek(key);
        if (now) held.set(key, { record: now.record, saved: value });
      }
      changes.splice(0, taken);
      return;
    }
    throw new Error(`given up after ${mostTries} conflicting writes`);
  }

  /** The store is away: memory goes on with what it knows, and the next change tries the store again. */
  function keepInMemory(key: string, { changes, next }: Pending<T>): void {
    const record = held.peek(key) ? undefined : applied(changes, undefined);
    if (record !== undefined) held.set(key, { record, saved: undefined });
    if (!next) changes.length = 0;
  }

  async function saveOrKeep(key: string, waiting: Pending<T>): Promise<void> {
    try {
      await save(key, waiting);
    } catch (error) {
      failed('metadata-set', key, error);
      keepInMemory(key, waiting);
    }
  }

  /** One save after the other; changes that come while one runs share the next. */
  function schedule(key: string, change: Change<T>): Promise<void> {
    const waiting = pending.get(key);
    if (!waiting) {
      const started: Pending<T> = { changes: [change], running: Promise.resolve(), next: undefined };
      pending.set(key, started);
      started.running = saveOrKeep(key, started).then(() => finish(key, started));
      return started.running;
    }
    waiting.changes.push(change);
    waiting.next ??= chained(key, waiting);
    return waiting.next;
  }

  function chained(key: string, waiting: Pending<T>): Promise<void> {
    return waiting.running.then(() => {
      waiting.running = waiting.next ?? waiting.running;
      waiting.next = undefined;
      return saveOrKeep(key, waiting).then(() => finish(key, waiting));
    });
  }

  function finish(key: string, waiting: Pending<T>): void {
    if (!waiting.next) pending.delete(key);
  }

  function lastSave(key: string): Promise<void> | undefined {
    const waiting = pending.get(key);
    return waiting?.next ?? waiting?.running;
  }

  return {
    async get(key, signal) {
      const inMemory = held.get(key);
      if (inMemory) return inMemory.record;
      let stored: Stored<T>;
      try {
        stored = await read(key, signal);
      } catch (error) {
        signal.throwIfAborted();
        failed('metadata-get', key, error);
        // Not what the store says: only what came meanwhile.
        return held.get(key)?.record ?? applied(pending.get(key)?.changes ?? [], undefined);
      }
      // A change may have come meanwhile, and knows more.
      const known = held.get(key);
      if (known) return known.record;
      const record = applied(pending.get(key)?.changes ?? [], stored.record);
      if (record !== undefined) held.set(key, { record, saved: stored.text });
      return record;
    },
    update(key, change) {
      const known = held.get(key);
      if (known) {
        const record = change(known.record);
        if (record === undefined) return lastSave(key) ?? Promise.resolve();
        held.set(key, { record, saved: known.saved });
      }
      return schedule(key, change);
    },
    async settled() {
      while (pending.size > 0) await Promise.all([...pending.keys()].map(lastSave));
    },
  };
}

/** The record after all the changes. */
function applied<T>(changes: readonly Change<T>[], record: T | undefined): T | undefined {
  return changes.reduce((current, change) => change(current) ?? current, record);
}
