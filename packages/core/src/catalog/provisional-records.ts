import { createRecent } from '../runtime/recent.ts';
import type { Records } from './records.ts';

const mostPassing = 10_000;

/**
 * The same records, but for those that are not worth keeping: they stay in memory, a bounded number of them. Anybody can
 * ask for names that do not exist; what is remembered of them must not fill the disk.
 *
 * @param worthKeeping of a key that the store knows nothing of yet; what it knows is always kept up to date
 */
export function provisional<T extends object>(
  records: Records<T>,
  worthKeeping: (record: T) => boolean,
): Omit<Records<T>, 'settled'> {
  const passing = createRecent<string, T>(mostPassing);
  const isKept = (record: T | undefined) => record !== undefined && worthKeeping(record);

  return {
    held: records.held,
    before: records.before,
    get: async (key, signal) => (await records.get(key, signal)) ?? passing.get(key),
    remove: records.remove,
    forget(prefix) {
      records.forget(prefix);
      for (const key of passing.keys()) if (key.startsWith(prefix)) passing.delete(key);
    },
    refresh: async (key, signal) => (await records.refresh(key, signal)) ?? passing.get(key),
    async update(key, change, fence) {
      // What is to be kept in any case need not be looked for first.
      if (!isKept(change(passing.get(key))) && (await records.get(key, new AbortController().signal))) {
        return records.update(key, change, fence);
      }
      const before = passing.get(key);
      const record = change(before);
      if (record === undefined) return undefined;
      if (!worthKeeping(record)) {
        passing.set(key, record);
        return undefined;
      }
      passing.delete(key);
      return records.update(key, (stored) => change(stored ?? before), fence);
    },
  };
}
