import type { Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Digest, digestAlgorithm, digestHex, isDigest, parseDigest } from '../oci/digest.ts';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { BlobStore, StoredBlob } from './blob-store.ts';
import { copyToTemp } from './file-copy.ts';
import { sortedNames } from './file-names.ts';
import { openFileBlob } from './file-open.ts';
import type { QuarantineFolder } from './file-quarantine.ts';
import { orRemake, type Remake } from './file-remake.ts';
import {
  isUnreadable,
  orFail,
  removeFile,
  renameFile,
  statFile,
  syncToDisk,
  systemCode,
  touchFile,
  unlessMissing,
} from './file-system.ts';
import { takeJudged } from './file-take.ts';
import type { TempFolder } from './file-temp.ts';
import { createKeyedLock } from './keyed-lock.ts';

/** Folders of the digest algorithms, in the order of the digests as text. */
export const blobAlgorithms = ['sha256', 'sha512'] as const;

/** A disk that gives nothing of so many files in a row has failed. */
const mostUnreadable = 20;

/** Blobs as files `<directory>/<algorithm>/<hex>` (OCI image-layout.md, blobs); where they are missing, `remake` makes them. */
export function createFileBlobs(
  directory: string,
  options: { temp: TempFolder; quarantine: QuarantineFolder; remake: Remake; durable: boolean; clock: Clock },
): BlobStore {
  const { temp, quarantine, remake, durable, clock } = options;
  // A retention that deletes what was stored before some instant and an adopt of the same blob must not overlap.
  const lock = createKeyedLock();

  function pathOf(digest: Digest): string {
    // A digest is a path here: nothing but a canonical one may become it.
    const checked = parseDigest(digest);
    return join(directory, digestAlgorithm(checked), digestHex(checked));
  }

  /** What the time of a file that is stored now is to say. */
  const nowInSeconds = () => clock.now() / 1000;

  /** In the place of what is there, which nobody looked at; a reader of that keeps it. */
  async function moveIn(from: string, digest: Digest): Promise<void> {
    const path = pathOf(digest);
    await orRemake(() => renameFile(from, path), remake).catch(async (error) => {
      // What is no file, such as a folder, cannot be replaced; nor is it ours to delete.
      const stats = await statFile(path).catch(unlessMissing);
      if (!stats || stats.isFile()) throw error;
      await quarantine.take(digest, path, stats);
      await renameFile(from, path);
    });
    if (durable) await syncToDisk(dirname(path));
  }

  /** Ends a blob in its place, by `end`, unless it was stored after that instant. @returns whether it was there */
  async function take(
    digest: Digest,
    unlessStoredAfter: number,
    end: (path: string, stats: Stats) => Promise<boolean>,
  ): Promise<boolean> {
    const path = pathOf(digest);
    const stats = await statFile(path).catch(unlessMissing);
    if (!stats || storedAtOf(stats) > unlessStoredAfter) return false;
    return await end(path, stats);
  }

  async function remove(path: string, judged: Stats): Promise<boolean> {
    const aside = temp.path();
    if (!(await orRemake(() => takeJudged(path, judged, aside), remake).catch(unlessMissing))) return false;
    await removeFile(aside);
    if (durable) await syncToDisk(dirname(path));
    return true;
  }

  async function touchAndMoveIn(from: string, digest: Digest): Promise<void> {
    const now = nowInSeconds();
    await touchFile(from, now, now);
    await moveIn(from, digest);
  }

  async function adoptFile(blob: { digest: Digest; file: string; size: number; signal: AbortSignal }): Promise<void> {
    const { digest, file, size, signal } = blob;
    const stats = await statFile(file);
    if (stats.size !== size)
      throw new ProxyCacheError('storage-failed', `${file} has ${stats.size} bytes, not ${size}`);
    if (durable) await syncToDisk(file);
    try {
      await touchAndMoveIn(file, digest);
    } catch (error) {
      if (systemCode(error) !== 'EXDEV') throw error;
      const copy = await orRemake(() => copyToTemp(file, { temp, durable, signal }), remake);
      await touchAndMoveIn(copy, digest).catch(async (failure) => {
        await removeFile(copy).catch(() => undefined);
        throw failure;
      });
      // What was copied is stored; the original goes with its spool folder if it cannot go now.
      await removeFile(file).catch(() => undefined);
    }
  }

  return {
    async open(digest, { signal }) {
      return await openFileBlob(pathOf(digest), signal);
    },
    async adopt(blob) {
      const { digest, signal } = blob;
      parseDigest(digest);
      await lock(digest, signal, () => adoptFile(blob)).catch(orFail(`store ${digest} from ${blob.file}`, signal));
    },
    async put({ digest, bytes, signal }) {
      parseDigest(digest);
      const store = async () => {
        const file = await temp.write(bytes, nowInSeconds());
        await moveIn(file, digest).catch(async (failure) => {
          await removeFile(file).catch(() => undefined);
          throw failure;
        });
      };
      await lock(digest, signal, store).catch(orFail(`store ${digest}`, signal));
    },
    async delete(digest, { unlessStoredAfter = Number.POSITIVE_INFINITY, signal }) {
      parseDigest(digest);
      const end = (path: string, stats: Stats) =>
        stats.isFile() ? remove(path, stats) : quarantine.take(digest, path, stats);
      return await lock(digest, signal, () => take(digest, unlessStoredAfter, end)).catch(
        orFail(`delete ${digest}`, signal),
      );
    },
    async quarantine(digest, { unlessStoredAfter = Number.POSITIVE_INFINITY, signal }) {
      parseDigest(digest);
      const end = (path: string, stats: Stats) => quarantine.take(digest, path, stats);
      return await lock(digest, signal, () => take(digest, unlessStoredAfter, end)).catch(
        orFail(`quarantine ${digest}`, signal),
      );
    },
    digests: ({ after, signal }) => listBlobs(directory, after, signal),
  };
}

// The system keeps fractions of a ms that differ by rounding from the instant we set.
const storedAtOf = (stats: Stats) => Math.round(stats.mtimeMs);

async function* listBlobs(
  directory: string,
  after: Digest | undefined,
  signal: AbortSignal,
): AsyncGenerator<StoredBlob, void, undefined> {
  let unreadable = 0;

  /** One that the disk does not give is passed over: a pull that meets it tells of it and stores it anew. */
  function unlessUnreadable(error: unknown): undefined {
    if (!isUnreadable(error)) return unlessMissing(error);
    unreadable++;
    if (unreadable === mostUnreadable) throw error;
    return undefined;
  }

  for (const algorithm of blobAlgorithms) {
    const folder = join(directory, algorithm);
    const keyOf = (name: string) => (isDigest(`${algorithm}:${name}`) ? `${algorithm}:${name}` : undefined);
    try {
      for await (const { key, name } of sortedNames(folder, { keyOf, after, reading: { signal } })) {
        signal.throwIfAborted();
        const stats = await statFile(join(folder, name)).catch(unlessUnreadable);
        if (stats) unreadable = 0;
        if (stats?.isFile() && isDigest(key)) yield { digest: key, size: stats.size, storedAt: storedAtOf(stats) };
      }
    } catch (error) {
      // Nothing is stored of it.
      if (systemCode(error) === 'ENOENT') continue;
      orFail(`list ${folder}`, signal)(error);
    }
  }
}
