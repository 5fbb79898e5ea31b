import { decodeRecord, encodeRecord, isDamaged, isOtherFormat } from '../catalog/record-codec.ts';
import { readStored, type StoredRecord } from '../catalog/stored-record.ts';
import type { StoreEvent } from '../store/events.ts';
import { mapBounded } from '../store/map-bounded.ts';
import type { MetadataStore } from '../store/metadata-store.ts';

/** What stands in the store of something's last use. */
export interface UseRecord {
  /** Ms since the epoch: it was not used later, as far as was known. May be some minutes ahead: see {@link createUsage}. */
  at: number;
}

/** Last uses in the metadata store. Everything rejects with what the store does. */
export interface UseRecords {
  /** When each was last used, in the keys' order. */
  read(keys: readonly string[], signal: AbortSignal): Promise<(number | undefined)[]>;
  /** Writes uses down, `written` being told what stands there then: the later of two stays, whoever wrote it. */
  save(
    uses: readonly { key: string; at: number }[],
    written: (index: number, at: number) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** Writes an instant where none stands yet. @returns what stands there then */
  first(key: string, at: number, signal: AbortSignal): Promise<number>;
  /** Removes a record, unless it tells of a use after that. @returns whether it tells of none */
  remove(key: string, unlessUsedAfter: number, signal: AbortSignal): Promise<boolean>;
}

type Stored = StoredRecord<UseRecord>;

// Read in one call, and written side by side: a store that is slow with each would hold up all.
const readTogether = 100;
const writesAtOnce = 8;
const mostTries = 3;

/** A later release's record may tell of anything: what it is about stays. */
const ofLaterRelease: Stored = {
  record: { at: Number.POSITIVE_INFINITY },
  text: undefined,
  condition: { ifVersion: 'absent' },
  isDamaged: false,
};

export function createUseRecords(parts: { metadata: MetadataStore; observe(event: StoreEvent): void }): UseRecords {
  const { metadata } = parts;

  async function readOne(key: string, signal: AbortSignal): Promise<Stored> {
    try {
      return await readStored<UseRecord>(parts, key, signal);
    } catch (error) {
      if (isOtherFormat(error)) return ofLaterRelease;
      throw error;
    }
  }

  /** In one call, where none of them is broken. */
  async function readAll(keys: readonly string[], signal: AbortSignal): Promise<Stored[]> {
    try {
      const entries = await metadata.getMany(keys, { signal });
      return entries.map((entry, index) => ({
        record: entry && decodeRecord<UseRecord>(keys[index] as string, entry.value),
        text: entry?.value,
        condition: { ifVersion: entry?.version ?? 'absent' },
        isDamaged: false,
      }));
    } catch (error) {
      if (!isDamaged(error) && !isOtherFormat(error)) throw error;
      return await mapBounded(keys, writesAtOnce, (key) => readOne(key, signal));
    }
  }

  /** @returns what stands there then */
  async function saveOne(use: { key: string; at: number }, before: Stored, signal: AbortSignal): Promise<number> {
    const { key, at } = use;
    for (let [stored, tries] = [before, 1]; ; tries++) {
      const known = atOf(stored);
      if (known !== undefined && known >= at) return known;
      if (await metadata.set(key, encodeRecord({ at }), { ...stored.condition, signal })) return at;
      // Others keep writing it: what they tell of is as late.
      if (tries === mostTries) return at;
      stored = await readOne(key, signal);
    }
  }

  return {
    async read(keys, signal) {
      const found: (number | undefined)[] = [];
      for (let from = 0; from < keys.length; from += readTogether) {
        found.push(...(await readAll(keys.slice(from, from + readTogether), signal)).map(atOf));
      }
      return found;
    },
    async save(uses, written, signal) {
      for (let from = 0; from < uses.length; from += readTogether) {
        const some = uses.slice(from, from + readTogether);
        const keys = some.map(({ key }) => key);
        const stored = await readAll(keys, signal);
        await mapBounded([...some.entries()], writesAtOnce, async ([index, use]) => {
          written(from + index, await saveOne(use, stored[index] as Stored, signal));
        });
      }
    },
    async first(key, at, signal) {
      const known = atOf(await readOne(key, signal));
      if (known !== undefined) return known;
      await metadata.set(key, encodeRecord({ at }), { ifVersion: 'absent', signal });
      return atOf(await readOne(key, signal)) ?? at;
    },
    async remove(key, unlessUsedAfter, signal) {
      const stored = await readOne(key, signal);
      if ((atOf(stored) ?? unlessUsedAfter) > unlessUsedAfter) return false;
      const { ifVersion } = stored.condition;
      if (ifVersion === 'absent') return true;
      return await metadata.delete(key, { ...(ifVersion !== undefined && { ifVersion }), signal });
    },
  };
}

function atOf({ record }: Stored): number | undefined {
  return typeof record?.at === 'number' ? record.at : undefined;
}
