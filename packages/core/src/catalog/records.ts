import { createRecent } from '../runtime/recent.ts';
import { storeFailed } from '../store/events.ts';
import type { Held, Pending, WaitingChange } from './record-changes.ts';
import { applied, type Change, dropRefused, type Fence, fenceOf } from './record-changes.ts';
import { encodeRecord, isDamaged, isOtherFormat } from './record-codec.ts';
import { type RecordsParts, readStored, type StoredRecord } from './stored-record.ts';
import { createUnsavedChanges, type UnsavedChanges } from './unsaved-changes.ts';

export type { RecordsParts };

/** Records of one kind, by key: in memory first, the store behind it. A failing store is an event, never a failure. */
export interface Records<T> {
  /** The record, where memory has it. `undefined` says nothing: the store may have one. */
  held(key: string): T | undefined;
  /** The record; `undefined` where there is none, or none that can be read. */
  get(key: string, signal: AbortSignal): Promise<T | undefined>;
  /** The record as the store has it now, which another process may have written; from memory where the store fails. */
  refresh(key: string, signal: AbortSignal): Promise<T | undefined>;
  /**
   * Changes a record: `change` sees the latest one and gives the next, or `undefined` to leave it; it may be called
   * again on what another process wrote. `get` knows of it at once; the store has it when the promise resolves, or has
   * failed and is tried again after a while. The promise never rejects.
   *
   * @param fence the lease that the change was learnt under: a store that has seen a later one keeps what it has, and so
   * does memory then
   */
  update(key: string, change: Change<T>, fence?: Fence): Promise<void>;
  /** Removes a record that nobody has changed since this version of it. @returns whether it did @throws what the store throws */
  remove(key: string, ifVersion: string, signal: AbortSignal): Promise<boolean>;
  /** Lets memory forget the records whose keys begin so, but for changes that are not in the store yet. */
  forget(prefix: string): void;
  /**
   * Resolves when every change is in the store, or given up: those that a failing store has not taken are tried once
   * more, and never again.
   */
  settled(): Promise<void>;
}

const mostTries = 4;

/** Records whose changes wait for a store that is away, and the changes of each. */
const mostUnsaved = 10_000;
const mostUnsavedChanges = 16;

/**
 * @param most how many records stay in memory
 * @param maxBytes about how many bytes they may take, for records of any length. Default: they are all short
 */
export function createRecords<T extends object>(parts: RecordsParts, most: number, maxBytes?: number): Records<T> {
  const { metadata, observe, clock } = parts;
  // Once as text, once as what the text says.
  const bytesOf = ({ record, saved }: Held<T>) => 2 * (saved ?? encodeRecord(record)).length;
  const held = createRecent<string, Held<T>>(most, maxBytes === undefined ? undefined : { maxBytes, bytesOf });
  const pending = new Map<string, Pending<T>>();
  let removals = 0;
  const unsaved: UnsavedChanges<WaitingChange<T>> = createUnsavedChanges({
    clock,
    most: Math.min(most, mostUnsaved),
    async retry(key) {
      await start(key, unsaved.take(key));
      return unsaved.get(key).length === 0;
    },
    dropped: (key) => failed('metadata-set', key, 'given up: the changes of too many records wait for the store'),
  });

  function failed(operation: string, key: string, error: unknown): void {
    observe(storeFailed(operation, key, error));
  }

  const read = (key: string, signal: AbortSignal) => readStored<T>(parts, key, signal);

  /** Brings the changes that wait into the store, on top of what others wrote there since. */
  async function save(key: string, { changes }: Pending<T>): Promise<void> {
    // Not a request's signal: what was learnt is kept also when whoever asked has left.
    const { signal } = new AbortController();
    let refused: string | undefined = held.peek(key) ? undefined : await saveNew(key, changes, signal);
    if (refused === 'saved') return;
    for (let tries = refused === undefined ? 0 : 1; tries < mostTries; tries++) {
      const stored = await read(key, signal);
      const fence = fenceOf(changes);
      // Nobody else wrote meanwhile: it was the fence that forbade it, and what stands there is of a later lease.
      if (fence !== undefined && refused !== undefined && refused === stored.condition.ifVersion) {
        if (dropRefused(changes, stored.text)) {
          failed('metadata-set', key, 'left as it is: it was written under a later lease');
          held.delete(key);
        }
        continue;
      }
      const known = held.peek(key);
      const isBase = known !== undefined && (stored.isDamaged || known.saved === stored.text);
      const record = isBase ? known.record : applied(changes, stored.record);
      const taken = changes.length;
      if (record !== undefined) held.set(key, { record, saved: stored.text });
      const value = record && encodeRecord(record);
      if (value !== undefined && value !== stored.text) {
        const fenced = fence === undefined ? {} : { fence };
        if (!(await metadata.set(key, value, { ...stored.condition, ...fenced, signal }))) {
          refused = stored.condition.ifVersion;
          continue;
        }
        const now = held.peek(key);
        if (now) held.set(key, { record: now.record, saved: value });
      }
      changes.splice(0, taken);
      return;
    }
    throw new Error(`given up after ${mostTries} conflicting writes`);
  }

  /**
   * What memory does not know is new, as a rule: then the store need not be read first. It refuses where it is not.
   *
   * @returns the version that was refused, as a condition of {@link MetadataStore.set}
   */
  async function saveNew(
    key: string,
    changes: WaitingChange<T>[],
    signal: AbortSignal,
  ): Promise<'saved' | 'absent' | undefined> {
    const record = applied(changes, undefined);
    if (record === undefined) return undefined;
    const [taken, value, fence] = [changes.length, encodeRecord(record), fenceOf(changes)];
    const condition = { ifVersion: 'absent', ...(fence !== undefined && { fence }), signal } as const;
    try {
      if (!(await metadata.set(key, value, condition))) return 'absent';
    } catch (error) {
      if (isDamaged(error)) return undefined;
      throw error;
    }
    held.set(key, { record: held.peek(key)?.record ?? applied(changes, undefined) ?? record, saved: value });
    changes.splice(0, taken);
    return 'saved';
  }

  /** The store is away: memory goes on with what it knows. */
  function keepInMemory(key: string, changes: readonly WaitingChange<T>[]): void {
    const record = held.peek(key) ? undefined : applied(changes, undefined);
    if (record !== undefined) held.set(key, { record, saved: undefined });
  }

  async function saveOrKeep(key: string, waiting: Pending<T>): Promise<void> {
    try {
      await save(key, waiting);
    } catch (error) {
      failed('metadata-set', key, error);
      keepInMemory(key, waiting.changes);
      // A later release's record is never overwritten. Of many changes the latest say what is.
      const kept = isOtherFormat(error) ? 0 : mostUnsavedChanges;
      waiting.changes.splice(0, waiting.changes.length - kept);
    }
  }

  function start(key: string, changes: WaitingChange<T>[]): Promise<void> {
    const started: Pending<T> = { changes, running: Promise.resolve(), next: undefined };
    pending.set(key, started);
    started.running = saveOrKeep(key, started).then(() => finish(key, started));
    return started.running;
  }

  /** One save after the other; changes that come while one runs share the next. */
  function schedule(key: string, change: WaitingChange<T>): Promise<void> {
    const waiting = pending.get(key);
    if (!waiting) return start(key, [...unsaved.take(key), change]);
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
    if (waiting.next !== undefined) return;
    pending.delete(key);
    if (waiting.changes.length > 0) unsaved.add(key, waiting.changes);
  }

  const changesOf = (key: string) => pending.get(key)?.changes ?? unsaved.get(key);

  function lastSave(key: string): Promise<void> | undefined {
    const waiting = pending.get(key);
    return waiting?.next ?? waiting?.running;
  }

  /** Takes what the store has into memory. */
  async function bring(key: string, signal: AbortSignal): Promise<{ record: T | undefined } | undefined> {
    const [before, removed] = [held.peek(key), removals];
    let stored: StoredRecord<T>;
    try {
      stored = await read(key, signal);
    } catch (error) {
      signal.throwIfAborted();
      failed('metadata-get', key, error);
      // Not what the store says: only what came meanwhile.
      return held.get(key) ?? { record: applied(changesOf(key), undefined) };
    }
    // A change may have come meanwhile, and knows more.
    const known = held.get(key);
    if (known && (known !== before || known.saved === stored.text || stored.isDamaged)) return known;
    const record = applied(changesOf(key), stored.record);
    if (record === undefined) held.delete(key);
    // What was read may be what was just removed.
    else if (removed === removals) held.set(key, { record, saved: stored.text });
    return { record };
  }

  return {
    held: (key) => held.get(key)?.record,
    async get(key, signal) {
      return (held.get(key) ?? (await bring(key, signal)))?.record;
    },
    refresh: async (key, signal) => (await bring(key, signal))?.record,
    update(key, change, fence) {
      const known = held.get(key);
      if (known) {
        const record = change(known.record);
        if (record === undefined) return lastSave(key) ?? Promise.resolve();
        held.set(key, { record, saved: known.saved });
      }
      return schedule(key, { change, fence, base: known?.saved });
    },
    async remove(key, ifVersion, signal) {
      if (changesOf(key).length > 0 || !(await metadata.delete(key, { ifVersion, signal }))) return false;
      removals++;
      if (changesOf(key).length === 0) held.delete(key);
      return true;
    },
    forget(prefix) {
      removals++;
      for (const key of held.keys()) if (key.startsWith(prefix) && changesOf(key).length === 0) held.delete(key);
    },
    async settled() {
      while (pending.size > 0) await Promise.all([...pending.keys()].map(lastSave));
      await unsaved.flush();
    },
  };
}
