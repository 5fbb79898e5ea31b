import { keyOf, prefixOf, textOf } from '../catalog/keys.ts';
import { isDamaged } from '../catalog/record-codec.ts';
import { listAll } from '../catalog/tag-records.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import type { MetadataEntry, MetadataStore } from '../store/metadata-store.ts';
import type { Book, Written } from './book.ts';
import type { Entry } from './entry.ts';
import type { UpstreamRecords } from './upstream-record.ts';

/** A book that survives restarts, and that others write in, too. */
export interface StoredBook extends Book {
  /** All that is written, by key. @throws what the store throws */
  read(signal: AbortSignal): Promise<ReadonlyMap<string, Written>>;
}

const kind = 'upstreams';
const readAtOnce = 100;
// Each time somebody else was quicker with the same key.
const mostTries = 20;

export function createStoredBook(metadata: MetadataStore, records: UpstreamRecords, signal: AbortSignal): StoredBook {
  /** What is there; `damaged`: the store itself cannot read it, and the next write replaces it. */
  async function find(key: string): Promise<MetadataEntry | 'damaged' | undefined> {
    try {
      return await metadata.get(keyOf(kind, key), { signal });
    } catch (error) {
      if (isDamaged(error)) return 'damaged';
      throw storageFailure(key, error);
    }
  }

  function entryOf(key: string, found: MetadataEntry | 'damaged' | undefined): Entry | undefined {
    return found && records.decode(key, found === 'damaged' ? '' : found.value);
  }

  async function tryChange(key: string, change: (written: Entry | undefined) => Entry): Promise<Entry | undefined> {
    const found = await find(key);
    const entry = change(entryOf(key, found));
    if (entry.kind === 'unusable') return entry;
    const text = records.encode(key, entry);
    const condition = found === 'damaged' ? {} : { ifVersion: found?.version ?? 'absent' };
    try {
      return (await metadata.set(keyOf(kind, key), text, { ...condition, signal })) ? entry : undefined;
    } catch (error) {
      throw storageFailure(key, error);
    }
  }

  return {
    async change(key, change) {
      for (let tries = 0; tries < mostTries; tries++) {
        const entry = await tryChange(key, change);
        if (entry) return entry;
      }
      throw new ProxyCacheError('storage-failed', `upstream ${key} was changed by others again and again; try again`);
    },
    async read(reading) {
      const all = new Map<string, Written>();
      const keys: string[] = [];
      for await (const key of listAll(metadata, prefixOf(kind), reading)) keys.push(key);
      for (let from = 0; from < keys.length; from += readAtOnce) {
        await readSome(keys.slice(from, from + readAtOnce), reading, all);
      }
      return all;
    },
  };

  async function readSome(keys: readonly string[], reading: AbortSignal, all: Map<string, Written>): Promise<void> {
    const found = await metadata.getMany(keys, { signal: reading }).catch((error) => {
      // One that the store cannot read is not to hide the others.
      if (!isDamaged(error)) throw error;
      return Promise.all(keys.map((key) => find(textOf(key.slice(kind.length + 1)) ?? '')));
    });
    for (const [index, entry] of found.entries()) {
      const key = textOf((keys[index] as string).slice(kind.length + 1));
      const decoded = key === undefined ? undefined : entryOf(key, entry);
      if (key === undefined || !decoded) continue;
      all.set(key, { entry: decoded, text: typeof entry === 'object' ? entry.value : '' });
    }
  }
}

function storageFailure(key: string, cause: unknown): unknown {
  if (isProxyCacheError(cause)) return cause;
  return new ProxyCacheError('storage-failed', `the record of upstream ${key} could not be read or written`, { cause });
}
