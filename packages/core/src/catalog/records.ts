import { LRUCache } from 'lru-cache';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { StoreEvent } from '../store/events.ts';
import type { MetadataEntry, MetadataStore } from '../store/metadata-store.ts';

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
   * again on what another process wrote. A record in memory is changed at once; the store has it when the promise
   * resolves, which never rejects.
   */
  update(key: string, change: (record: T | undefined) => T | undefined): Promise<void>;
  /** Resolves when every change under way is in the store, or failed. */
  settled(): Promise<void>;
}

/** The version of the records' JSON; a higher one was written by a later release. */
const format = 1;

const mostTries = 4;

/** `saved`: the store's text that the record is based on. `dirty`: the store has not taken the record yet. */
type Held<T> = { record: T; saved: string | undefined; dirty: boolean };

type Change<T> = (record: T | undefined) => T | undefined;

/** @param most how many records stay in memory */
export function createRecords<T extends object>({ metadata, observe }: RecordsParts, most: number): Records<T> {
  const held = new LRUCache<string, Held<T>>({ max: most });
  const saving = new Map<string, Promise<void>>();

  function failed(operation: string, key: string, error: unknown): void {
    observe({
      type: 'store-failed',
      operation,
      subject: key,
      error: error instanceof Error ? error.message : `${error}`,
    });
  }

  /** Brings a change into the store, on top of what others wrote there since. */
  async function save(key: string, change: Change<T>): Promise<void> {
    // Not a request's signal: what was learnt is kept also when whoever asked has left.
    const { signal } = new AbortController();
    for (let tries = 0; tries < mostTries; tries++) {
      // A change before this one may have taken it along.
      if (held.peek(key)?.dirty === false) return;
      const entry = await metadata.get(key, { signal });
      const mine = held.peek(key);
      const record = mine && mine.saved === entry?.value ? mine.record : change(entry && decode<T>(key, entry));
      if (record === undefined) {
        held.delete(key);
        return;
      }
      held.set(key, { record, saved: entry?.value, dirty: true });
      const value = encode(record);
      if (await metadata.set(key, value, { ifVersion: entry?.version ?? 'absent', signal })) {
        const now = held.peek(key);
        if (now) held.set(key, { record: now.record, saved: value, dirty: now.record !== record });
        return;
      }
    }
    throw new Error(`given up after ${mostTries} conflicting writes`);
  }

  return {
    async get(key, signal) {
      const inMemory = held.get(key);
      if (inMemory) return inMemory.record;
      try {
        const entry = await metadata.get(key, { signal });
        if (!entry) return undefined;
        const record = decode<T>(key, entry);
        // A change may have come meanwhile, and knows more.
        const known = held.get(key);
        if (known) return known.record;
        held.set(key, { record, saved: entry.value, dirty: false });
        return record;
      } catch (error) {
        signal.throwIfAborted();
        failed('metadata-get', key, error);
        return undefined;
      }
    },
    update(key, change) {
      const known = held.get(key);
      if (known) {
        const record = change(known.record);
        if (record === undefined) return Promise.resolve();
        held.set(key, { record, saved: known.saved, dirty: true });
      }
      // Saves of one key go one after the other.
      const before = saving.get(key) ?? Promise.resolve();
      const now = before
        .then(() => save(key, change))
        .catch((error) => {
          // The store is away: memory goes on with what it knows, and the next change tries the store again.
          const record = held.peek(key) ? undefined : change(undefined);
          if (record) held.set(key, { record, saved: undefined, dirty: true });
          failed('metadata-set', key, error);
        })
        .finally(() => {
          if (saving.get(key) === now) saving.delete(key);
        });
      saving.set(key, now);
      return now;
    },
    async settled() {
      await Promise.all(saving.values());
    },
  };
}

function encode(record: object): string {
  return JSON.stringify({ format, ...record });
}

function decode<T>(key: string, entry: MetadataEntry): T {
  const { format: found, ...record } = JSON.parse(entry.value);
  if (found !== format) {
    throw new ProxyCacheError(
      'storage-format',
      `${key} has format ${found}, this release reads ${format}; use the release that wrote it, or another folder`,
    );
  }
  return record as T;
}
