import { decodeRecord, isDamaged, isLost, isOtherFormat } from '../catalog/record-codec.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import { mapBounded } from '../store/map-bounded.ts';
import type { MetadataEntry, MetadataStore } from '../store/metadata-store.ts';

/** What records are read with. */
export interface ReadRecordsParts {
  metadata: MetadataStore;
  observe(event: StoreEvent): void;
}

/**
 * A record as retention sees it; `lost`: it is there, and never says anything any more; `unreadable`: it says nothing now, or
 * nothing that this release knows.
 */
export type ReadRecord<T> = T | 'lost' | 'unreadable' | undefined;

/** Read in one call. */
export const readTogether = 100;
const readsAtOnce = 8;

/**
 * Reads records, at most {@link readTogether} of them, in the keys' order. What is damaged is told.
 *
 * @throws what the store throws
 */
export async function readRecords<T>(
  parts: ReadRecordsParts,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<ReadRecord<T>[]> {
  const { metadata, observe } = parts;

  function unreadable(key: string, error: unknown): 'lost' | 'unreadable' {
    if (isDamaged(error)) observe(storeFailed('metadata-get', key, error));
    else if (!isOtherFormat(error)) throw error;
    return isLost(error) ? 'lost' : 'unreadable';
  }

  function decoded(key: string, text: string): ReadRecord<T> {
    try {
      return decodeRecord<T>(key, text);
    } catch (error) {
      return unreadable(key, error);
    }
  }

  async function readOne(key: string): Promise<ReadRecord<T>> {
    try {
      const entry = await metadata.get(key, { signal });
      return entry && decoded(key, entry.value);
    } catch (error) {
      return unreadable(key, error);
    }
  }

  let entries: readonly (MetadataEntry | undefined)[];
  try {
    entries = await metadata.getMany(keys, { signal });
  } catch (error) {
    if (!isDamaged(error) && !isOtherFormat(error)) throw error;
    // One of them spoils the call for all.
    return await mapBounded(keys, readsAtOnce, readOne);
  }
  return entries.map((entry, index) => entry && decoded(keys[index] as string, entry.value));
}
