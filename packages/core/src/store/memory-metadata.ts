import type { Clock } from '../runtime/clock.ts';
import { fenceForMs } from './fence-life.ts';
import { checkMetadataKey, keyOrder, prefixSegments, sortKeys } from './metadata-key.ts';
import type { MetadataEntry, MetadataStore } from './metadata-store.ts';

type Stored = MetadataEntry & { expiresAt: number; fence: number | undefined };

/** Of what was deleted, or has expired. */
type Left = { fence: number; until: number };

/** Records in this process's memory, without a bound: for tests and short lives. */
export function createMemoryMetadata(clock: Clock): MetadataStore {
  const records = new Map<string, Stored>();
  const fences = new Map<string, Left>();
  let writes = 0;

  const isLive = (stored: Stored | undefined): stored is Stored =>
    stored !== undefined && clock.now() < stored.expiresAt;

  function read(key: string): MetadataEntry | undefined {
    const stored = records.get(checkMetadataKey(key));
    return isLive(stored) ? { value: stored.value, version: stored.version } : undefined;
  }

  function drop(key: string): void {
    const fence = records.get(key)?.fence;
    if (fence !== undefined) fences.set(key, { fence, until: clock.monotonic() + fenceForMs });
    records.delete(key);
  }

  function forgetOldFences(): void {
    for (const [key, { until }] of fences) if (until <= clock.monotonic()) fences.delete(key);
  }

  return {
    async get(key, { signal }) {
      signal.throwIfAborted();
      return read(key);
    },
    async getMany(keys, { signal }) {
      signal.throwIfAborted();
      return keys.map(read);
    },
    async set(key, value, { ifVersion, expiresAt = Number.POSITIVE_INFINITY, fence, signal }) {
      signal.throwIfAborted();
      const version = read(key)?.version ?? 'absent';
      if (ifVersion !== undefined && ifVersion !== version) return false;
      const seen = records.get(key)?.fence ?? fences.get(key)?.fence;
      if (fence !== undefined && seen !== undefined && fence < seen) return false;
      writes++;
      records.set(key, { value, version: String(writes), expiresAt, fence: fence ?? seen });
      fences.delete(key);
      return true;
    },
    async delete(key, { ifVersion, signal }) {
      signal.throwIfAborted();
      const entry = read(key);
      if (ifVersion !== undefined && ifVersion !== entry?.version) return false;
      drop(key);
      return entry !== undefined;
    },
    async list(prefix, { after, limit, signal }) {
      signal.throwIfAborted();
      prefixSegments(prefix);
      forgetOldFences();
      const from = after === undefined ? undefined : keyOrder(after);
      const keys = [...records].flatMap(([key, stored]) => {
        if (!key.startsWith(prefix) || (from !== undefined && keyOrder(key) <= from)) return [];
        if (isLive(stored)) return [key];
        drop(key);
        return [];
      });
      return sortKeys(keys).slice(0, Math.max(limit, 0));
    },
  };
}
