import { decodeRecord, isDamaged, isOtherFormat } from '../catalog/record-codec.ts';
import { mapBounded } from '../store/map-bounded.ts';
import type { MetadataStore } from '../store/metadata-store.ts';

/** A record as retention sees it; `unreadable`: it is there, and says nothing, or nothing that this release knows. */
export type ReadRecord<T> = T | 'unreadable' | undefined;

/** Read in one call. */
export const readTogether = 100;
const readsAtOnce = 8;

/** Reads records, at most {@link readTogether} of them, in the keys' order. @throws what the store throws */
export async function readRecords<T>(
  metadata: MetadataStore,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<ReadRecord<T>[]> {
  try {
    const entries = await metadata.getMany(keys, { signal });
    return entries.map((entry, index) => entry && decoded<T>(keys[index] as string, entry.value));
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    // One of them spoils the call for all.
    return await mapBounded(keys, readsAtOnce, (key) => readOne<T>(metadata, key, signal));
  }
}

async function readOne<T>(metadata: MetadataStore, key: string, signal: AbortSignal): Promise<ReadRecord<T>> {
  try {
    const entry = await metadata.get(key, { signal });
    return entry && decodeRecord<T>(key, entry.value);
  } catch (error) {
    if (isUnreadable(error)) return 'unreadable';
    throw error;
  }
}

function decoded<T>(key: string, text: string): T | 'unreadable' {
  try {
    return decodeRecord<T>(key, text);
  } catch (error) {
    if (isUnreadable(error)) return 'unreadable';
    throw error;
  }
}

const isUnreadable = (error: unknown) => isDamaged(error) || isOtherFormat(error);
