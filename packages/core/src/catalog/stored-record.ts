import type { Clock } from '../runtime/clock.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import type { MetadataEntry, MetadataStore, SetOptions } from '../store/metadata-store.ts';
import { decodeRecord, isDamaged } from './record-codec.ts';

/** What records of all kinds work with. */
export interface RecordsParts {
  metadata: MetadataStore;
  clock: Clock;
  observe(event: StoreEvent): void;
}

/** What stands in the store, and the condition on which it may be replaced. */
export type StoredRecord<T> = {
  record: T | undefined;
  text: string | undefined;
  condition: Pick<SetOptions, 'ifVersion'>;
  isDamaged: boolean;
};

/**
 * Reads a record. Of what is damaged only that it is there. A later release's record throws, so that nothing overwrites
 * it.
 */
export async function readStored<T>(
  { metadata, observe }: Pick<RecordsParts, 'metadata' | 'observe'>,
  key: string,
  signal: AbortSignal,
): Promise<StoredRecord<T>> {
  let entry: MetadataEntry | undefined;
  try {
    entry = await metadata.get(key, { signal });
    const record = entry && decodeRecord<T>(key, entry.value);
    return { record, text: entry?.value, condition: { ifVersion: entry?.version ?? 'absent' }, isDamaged: false };
  } catch (error) {
    if (!isDamaged(error)) throw error;
    observe(storeFailed('metadata-get', key, error));
    // What the store itself cannot read has no version that could be named.
    const condition = entry ? { ifVersion: entry.version } : {};
    return { record: undefined, text: entry?.value, condition, isDamaged: true };
  }
}
