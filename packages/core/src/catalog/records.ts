import { abortable } from '../runtime/collapse.ts';
import { createRecent } from '../runtime/recent.ts';
import { storeFailed } from '../store/events.ts';
import { createPendingSaves } from './pending-saves.ts';
import type { Held, Pending, WaitingChange } from './record-changes.ts';
import { applied, type Change, dropRefused, type Fence, fenceOf } from './record-changes.ts';
import { encodeRecord, isDamaged, isOtherFormat, readable } from './record-codec.ts';
import { type RecordsParts, readStored, type StoredRecord } from './stored-record.ts';
import { createUnsavedChanges, type UnsavedChanges } from './unsaved-changes.ts';

export type { RecordsParts };

/** Records of one kind, by key: in memory first, the store behind it. A failing store is an event, never a failure. */
export interface Records<T> {
  /** The record, where memory has it and the store has its news. `undefined` says nothing: the store may have one. */
  held(key: string): T | undefined;
  /** What the store has of a record whose news are on their way there. `undefined`: none are, or it has none that can be read. */
  before(key: string): T | undefined;
  /**
   * The record; `undefined` where there is none, or none that can be read. News of it are waited for until the store has
   * them, or has failed.
   */
  get(key: string, signal: AbortSignal): Promise<T | undefined>;
  /** The record as the store has it now, which another process may have written; from memory where the store fails. */
  refresh(key: string, signal: AbortSignal): Promise<T | undefined>;
  /**
   * Changes a record: `change` sees the latest one and gives the next, or `undefined` to leave it; it may be called
   * again on what another process wrote. `get` knows of it; the store has it when the promise resolves, or has
   * failed and is tried again after a while. The promise never rejects.
   *
   * @param fence the lease that the change was learnt under: a store that has seen a later one keeps what it has, and so
   * does memory then
   */
  update(key: string, change: Change<T>, fence?: Fence): Promise<void>;
  /**
   * Removes a record that nobody has changed since this version of it; `undefined`: one that the store cannot read, which
   * has none.
   *
   * @returns whether it did
   * @throws what the store throws
   */
  remove(key: string, ifVersion: string | undefined, signal: AbortSignal): Promise<boolean>;
  /** Lets memory forget the records whose keys begin so, but for changes that are not in the store yet. */
  forget(prefix: string): void;
  /**
   * Resolves when every change is in the store, or given up: those that a failing store has not taken are tried once
   * more, and never again, nor is any that comes later.
   */
  settled(): Promise<void>;
}

const mostTries = 4;

/** Records whose changes wait for a store that is away, and the changes of each. */
const mostUnsaved = 10_000;
const mostUnsavedChanges = 16;

/** How records are kept. */
export interface RecordsOptions<T> {
  /** About how many bytes they may take in memory, for records of any length. Default: they are all short. */
  maxBytes?: number;
  /**
   * Whether a change is one that nobody may be told of before the store has it: what was answered once is to be answered
   * again after a crash. The first change that memory knows of always is. Default: no change is.
   */
  isNews?: (before: T, after: T, key: string) => boolean;
}

/** @param most how many records stay in memory */
export function createRecords<T extends object>(
  parts: RecordsParts,
  most: number,
  { maxBytes, isNews }: RecordsOptions<T> = {},
): Records<T> {
  const { metadata, observe, clock } = parts;
  // Once as text, once as what the text says.
  const bytesOf = ({ record, saved }: Held<T>) => 2 * (saved ?? encodeRecord(record)).length;
  const held = createRecent<string, Held<T>>(most, maxBytes === undefined ? undefined : { maxBytes, bytesOf });
  let removals = 0;
  const unsaved: UnsavedChanges<WaitingChange<T>> = createUnsavedChanges({
    clock,
    most: Math.min(most, mostUnsaved),
    async retry(key) {
      await saves.start(key, unsaved.take(key));
      return unsaved.get(key).length === 0;
    },
    dropped: (key) => failed('metadata-set', key, 'given up: the changes of too many records wait for the store'),
  });
  const saves = createPendingSaves<T>({ save: saveOrKeep, left: unsaved.add });

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
      // Only a set without conditions replaces what the store cannot read, and a fence is one.
      const fence = stored.condition.ifVersion === undefined ? undefined : fenceOf(changes);
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

  const changesOf = (key: string) => saves.changes(key) ?? unsaved.get(key);

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
    held: (key) => (saves.news(key) === undefined ? held.get(key)?.record : undefined),
    before(key) {
      const saved = saves.news(key) && held.peek(key)?.saved;
      return saved === undefined ? undefined : readable<T>(key, saved);
    },
    async get(key, signal) {
      const found = held.get(key) ?? (await bring(key, signal));
      const saving = saves.news(key);
      if (saving === undefined) return found?.record;
      await abortable(saving, signal);
      // The store may have refused what was to be saved, or had something else of another process.
      return (held.get(key) ?? (await bring(key, signal)))?.record;
    },
    refresh: async (key, signal) => (await bring(key, signal))?.record,
    update(key, change, fence) {
      const known = held.get(key);
      let news = isNews !== undefined;
      if (known) {
        const record = change(known.record);
        if (record === undefined) return saves.last(key) ?? Promise.resolve();
        news = isNews?.(known.record, record, key) ?? false;
        held.set(key, { record, saved: known.saved });
      }
      const before = saves.changes(key) ? [] : unsaved.take(key);
      return saves.add(key, { change, fence, base: known?.saved }, { before, isNews: news });
    },
    async remove(key, ifVersion, signal) {
      const condition = ifVersion === undefined ? {} : { ifVersion };
      if (changesOf(key).length > 0 || !(await metadata.delete(key, { ...condition, signal }))) return false;
      removals++;
      if (changesOf(key).length === 0) held.delete(key);
      return true;
    },
    forget(prefix) {
      removals++;
      for (const key of held.keys()) if (key.startsWith(prefix) && changesOf(key).length === 0) held.delete(key);
    },
    async settled() {
      await saves.settled();
      await unsaved.flush();
    },
  };
}
