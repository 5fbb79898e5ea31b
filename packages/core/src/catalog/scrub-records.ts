import { ProxyCacheError } from '../runtime/errors.ts';
import { turn } from '../runtime/turn.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import type { MetadataEntry, MetadataStore } from '../store/metadata-store.ts';
import { mostScrubFailures } from '../store/scrub-blobs.ts';
import { prefixOf } from './keys.ts';
import { decodeRecord, isDamaged, isOtherFormat } from './record-codec.ts';
import { listAll } from './tag-records.ts';

/** What a scrub found among the records, so far or in all. */
export interface RecordsReport {
  checked: number;
  /** Those that could not be read or decoded. They were hints: what they said is asked for again. */
  damaged: number;
}

/** What {@link scrubRecords} works with. */
export interface ScrubRecordsParts {
  metadata: MetadataStore;
  observe(event: StoreEvent): void;
  /** Called after each record. */
  progress(): void;
}

/** What keys of ours begin with: a store may hold something else beside. */
const kinds = ['tag', 'link', 'referrers', 'repository', 'use', 'use-since', 'sweep', 'purged', 'parents', 'seen'];

/**
 * Reads every record and removes those that nobody can read or decode any more. Records of a later release stay.
 *
 * @throws ProxyCacheError `storage-failed` for a store that gives nothing; the signal's reason
 */
export async function scrubRecords(
  { metadata, observe, progress }: ScrubRecordsParts,
  report: RecordsReport,
  signal: AbortSignal,
): Promise<void> {
  let failures = 0;

  /** @returns whether it is damaged; a condition on what was read keeps what was written since */
  async function isBroken(key: string): Promise<false | { ifVersion?: string }> {
    let entry: MetadataEntry | undefined;
    try {
      entry = await metadata.get(key, { signal });
      if (entry) decodeRecord(key, entry.value);
      return false;
    } catch (error) {
      if (isOtherFormat(error)) return false;
      if (!isDamaged(error)) throw error;
      return entry ? { ifVersion: entry.version } : {};
    }
  }

  /** A store that cannot read it knows no version of it: it is looked at again, right before it goes. */
  async function isBrokenTwice(key: string): Promise<false | { ifVersion?: string }> {
    const condition = await isBroken(key);
    return condition && condition.ifVersion === undefined ? await isBroken(key) : condition;
  }

  async function check(key: string): Promise<void> {
    const condition = await isBrokenTwice(key);
    report.checked++;
    if (condition === false) return;
    report.damaged++;
    await metadata.delete(key, { ...condition, signal });
  }

  for (const kind of kinds) {
    for await (const key of listAll(metadata, prefixOf(kind), signal)) {
      try {
        await check(key);
        failures = 0;
      } catch (error) {
        signal.throwIfAborted();
        observe(storeFailed('scrub', key, error));
        failures++;
        if (failures >= mostScrubFailures) {
          const message = `the metadata store failed ${failures} times in a row; scrub again when it is back`;
          throw new ProxyCacheError('storage-failed', message, { cause: error });
        }
      }
      progress();
      await turn();
    }
  }
}
