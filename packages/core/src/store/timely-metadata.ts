import type { MetadataStore } from './metadata-store.ts';
import type { StoreDeadline } from './store-deadline.ts';

/** Never on a pull's path; the first page may take a look at all names of a folder. */
const listWithinMs = 15_000;

/** The same records, each call bounded in time. */
export function timelyMetadata(metadata: MetadataStore, deadline: StoreDeadline): MetadataStore {
  return {
    get: (key, { signal }) =>
      deadline.run({ operation: 'get', signal }, (given) => metadata.get(key, { signal: given.signal })),
    getMany: (keys, { signal }) =>
      deadline.run({ operation: 'get', signal }, (given) => metadata.getMany(keys, { signal: given.signal })),
    set: (key, value, { signal, ...options }) =>
      deadline.run({ operation: 'set', signal }, (given) =>
        metadata.set(key, value, { ...options, signal: given.signal }),
      ),
    delete: (key, { signal, ...options }) =>
      deadline.run({ operation: 'delete', signal }, (given) =>
        metadata.delete(key, { ...options, signal: given.signal }),
      ),
    list: (prefix, { signal, ...options }) =>
      deadline.run({ operation: 'list', signal, withinMs: listWithinMs }, (given) =>
        metadata.list(prefix, { ...options, signal: given.signal }),
      ),
  };
}
