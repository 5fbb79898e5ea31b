import { join, resolve } from 'node:path';
import { Keyv } from 'keyv';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { checkFolder } from './check-folder.ts';
import { createKeyFileListing } from './file-key-listing.ts';
import { createFileKeyvStore } from './file-keyv-store.ts';
import { openFileRoot } from './file-root.ts';
import { createKeyvMetadata } from './keyv-metadata.ts';
import type { MetadataStore } from './metadata-store.ts';
import type { Storage } from './storage.ts';
import { withUpkeep } from './upkeep.ts';

/** Options of {@link fileStorage}. */
export interface FileStorageOptions {
  /**
   * Whether what was stored survives a loss of power, at the price of a flush per write (SEMANTICS 39). Without it a
   * crash of the process loses nothing either. Default false.
   */
  durable?: boolean;
  /** Default: the machine's clock. */
  clock?: Clock;
}

/**
 * A storage in a folder, which is made where it is missing. It survives restarts and crashes; several processes of hosts
 * with different names may share it, except that conditions of metadata hold within one process.
 *
 * Layout: `proxycache.json` (the format), `blobs/<algorithm>/<hex>` as in an OCI image layout (it is none as a whole:
 * there is no index of it), `metadata/` with a file per record, `spool/` for transfers, `tmp/` for writes under way,
 * `quarantine/<algorithm>/<hex>.<instant>` with what was found wrong: the newest 100 blobs of a week,
 * as far as they fit into 1 GiB.
 *
 * What it makes is for this process's user alone: folders 0700, files 0600. A folder that was there keeps its mode. What somebody
 * removes of it while a cache uses it is made again: `proxycache.json` within a minute, and when the cache is closed.
 *
 * @throws ProxyCacheError `invalid-options`; `storage-format` for a folder of a newer version or of something else, `storage-failed` or
 *   `storage-full` for one that cannot be written
 */
export function fileStorage(directory: string, options: FileStorageOptions = {}): Storage {
  checkFolder('fileStorage', { directory, options, names: ['durable', 'clock'] });
  const { durable = false, clock = systemClock } = options;
  const root = resolve(directory);
  const [metadata, spoolDirectory] = [join(root, 'metadata'), join(root, 'spool')];
  const { blobs, temp, remake, upkeep } = openFileRoot(root, { beside: [metadata, spoolDirectory], durable, clock });
  const records = fileMetadata(metadata, { temp, remake, durable, clock });
  return { blobs, metadata: withUpkeep(records, upkeep), spoolDirectory };
}

function fileMetadata(
  directory: string,
  options: Omit<Parameters<typeof createFileKeyvStore>[1], 'written'> & { clock: Clock },
): MetadataStore {
  const { list, written } = createKeyFileListing(directory, options.clock);
  const store = createFileKeyvStore(directory, { ...options, written });
  const keyv = new Keyv({
    store,
    throwOnErrors: true,
    useKeyPrefix: false,
    // Records expire by our own rule, so what Keyv would wrap around them says nothing.
    serialize: ({ value }) => String(value),
    deserialize: (value) => ({ value: value as never }),
  });
  return createKeyvMetadata(keyv, { list, clock: options.clock, prepare: store.prepare });
}
