import type { MetadataStore } from './metadata-store.ts';
import type { StoreDeadline } from './store-deadline.ts';

/** Never on a pull's path; the first page may take a look at all names of a folder. */
const listWithinMs = 15_000;

/** The same records, each call bounded in time. */
export function timelyMetadata(metadata: MetadataStore, deadline: StoreDeadline): MetadataStore {
  return {
    get: (key, { signal }) =>
      deadline.run({ operation: 'get', signal }, (signalOfCall) => metadata.get(key, { signal: signalOfCall })),
    getMany: (keys, { signal }) =>
      deadline.run({ operation: 'get', signal }, (signalOfCall) => metadata.getMany(keys, { signal: signalOfCall })),
    set: (key, value, { signal, ...options }) =>
      deadline.run({ operation: 'set', signal }, (signalOfCall) =>
        metadata.set(key, value, { ...options, signal: signalOfCall }),
      ),
    delete: (key, { signal, ...options }) =>
      deadline.run({ operation: 'delete', signal }, (signalOfCall) =>
        metadata.delete(key, { ...options, signal: signalOfCall }),
      ),
    list: (prefix, { signal, ...options }) =>
      deadline.run({ operation: 'list', signal, withinMs: listWithinMs }, (signalOfCall) =>
        metadata.list(prefix, { ...options, signal: signalOfCall }),
      ),
  };
}
