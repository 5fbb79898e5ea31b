import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createRecent } from '../runtime/recent.ts';
import { keyPath } from './file-key-path.ts';
import type { Remake } from './file-remake.ts';
import {
  isUnreadable,
  readWhole,
  removeFile,
  removeFolder,
  renameFile,
  statFile,
  syncToDisk,
  systemCode,
  unlessMissing,
} from './file-system.ts';
import type { TempFolder } from './file-temp.ts';
import type { PreparedValue } from './keyv-access.ts';
import { makeFolder } from './make-folder.ts';
import { mapBounded } from './map-bounded.ts';

/** Files read at once: each holds a descriptor, and the process has but so many. */
const readsAtOnce = 32;

/** Folders of which it is remembered that they are there: one for each repository that is pulled at the same time. */
const mostSeen = 1_000;

/** How often a write is tried where deletes remove its folder meanwhile. */
const attempts = 8;

/** What Keyv asks of a store, over files. `opts` stays undefined: Keyv must not look for an iterator here. */
export interface FileKeyvStore {
  opts: undefined;
  namespace: string | undefined;
  get(key: string): Promise<string | undefined>;
  getMany(keys: readonly string[]): Promise<(string | undefined)[]>;
  set(key: string, value: string): Promise<void>;
  /** Makes a value ready to be put in its place. */
  prepare(key: string, value: string): Promise<PreparedValue>;
  delete(key: string): Promise<boolean>;
  clear(): Promise<void>;
  on(): FileKeyvStore;
}

/**
 * A Keyv store of one file per key, written beside and renamed into place: after a crash each key has its old value or
 * its new one. Keys are metadata keys. A file that does not hold what was written, or that the disk does not give, is
 * `storage-damaged`, never "absent".
 *
 * @param options.remake makes the folder where it is missing
 * @param options.written called as soon as a key's file is in its place
 */
export function createFileKeyvStore(
  directory: string,
  options: { temp: TempFolder; remake: Remake; durable: boolean; written(key: string): void },
): FileKeyvStore {
  const { temp, remake, durable, written } = options;

  // Of folders that were there lately.
  const seen = createRecent<string, true>(mostSeen);

  async function moveIn(file: string, path: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        if (attempt > 1) await remakeFolder(dirname(path));
        await renameFile(file, path);
        return;
      } catch (error) {
        if (systemCode(error) !== 'ENOENT' || attempt === attempts) throw error;
      }
    }
  }

  async function remakeFolder(folder: string): Promise<void> {
    // Not by itself: what is above it may be missing too.
    if (!(await statFile(directory).catch(unlessMissing))) await remake();
    await makeFolder(folder, { durable });
    seen.set(folder, true);
  }

  /** Folders that became empty go too; one that does not is in use, or gone already. */
  async function prune(folder: string): Promise<void> {
    for (let empty = folder; empty !== directory; empty = dirname(empty)) {
      try {
        await removeFolder(empty);
      } catch {
        return;
      }
    }
  }

  const store: FileKeyvStore = {
    opts: undefined,
    namespace: undefined,
    async get(key) {
      const content = await readWhole(join(directory, keyPath(key))).catch((error) => {
        if (isUnreadable(error)) throw damaged(key, 'cannot be read', error);
        return unlessMissing(error);
      });
      return content && unseal(key, content);
    },
    getMany: (keys) => mapBounded(keys, readsAtOnce, (key) => store.get(key)),
    async set(key, value) {
      await (await store.prepare(key, value)).place();
    },
    async prepare(key, value) {
      const path = join(directory, keyPath(key));
      const folder = dirname(path);
      // Beside the write, so that the first record of a repository takes no longer. What fails is told by the move.
      const made = seen.has(folder) ? undefined : remakeFolder(folder).catch(() => undefined);
      const file = await temp.write(seal(value));
      const drop = () => removeFile(file).catch(() => undefined);
      await made;
      return {
        async place() {
          try {
            await moveIn(file, path);
          } catch (error) {
            await drop();
            throw error;
          }
          written(key);
          if (durable) await syncNearest(dirname(path));
        },
        drop,
      };
    },
    async delete(key) {
      const path = join(directory, keyPath(key));
      try {
        await removeFile(path);
      } catch (error) {
        return unlessMissing(error) ?? false;
      }
      if (durable) await syncNearest(dirname(path));
      await prune(dirname(path));
      return true;
    },
    async clear() {
      throw new ProxyCacheError('unsupported', `remove the folder ${directory} instead, while nothing uses it`);
    },
    on: () => store,
  };
  return store;
}

/** A delete of a neighbour may have removed the folder meanwhile: then the names in the nearest one above it tell so. */
async function syncNearest(folder: string): Promise<void> {
  for (let at = folder; ; at = dirname(at)) {
    const isSynced = await syncToDisk(at).then(() => true, unlessMissing);
    if (isSynced) return;
  }
}

const checksumOf = (value: Uint8Array) => crc32(value).toString(16).padStart(8, '0');

// After a loss of power a file may be there without its bytes: the checksum tells.
function seal(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from(`${checksumOf(bytes)}\n`), bytes]);
}

function unseal(key: string, content: Buffer): string {
  const value = content.subarray(9);
  if (content.toString('latin1', 0, 9) === `${checksumOf(value)}\n`) return value.toString();
  throw damaged(key, 'is damaged');
}

function damaged(key: string, how: string, cause?: Error): ProxyCacheError {
  const why = cause ? ` (${cause.message})` : '';
  const message = `the file of ${key} ${how}${why}; the next write or delete of it repairs that`;
  return new ProxyCacheError('storage-damaged', message, { cause });
}
