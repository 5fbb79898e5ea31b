import { resolve } from 'node:path';
import { type Digest, parseDigest } from '../oci/digest.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { expectWhole } from '../runtime/expect-option.ts';
import type { BlobStore, OpenBlob } from './blob-store.ts';
import { checkFolder } from './check-folder.ts';
import { openFileRoot } from './file-root.ts';
import { withUpkeep } from './upkeep.ts';
import { createUsedBlobs } from './used-blobs.ts';

/** Options of {@link fileBlobs}. */
export interface FileBlobsOptions {
  /** Bytes of blobs that it keeps: over it those go whose last use is the longest ago, until a tenth is free. Default: no bound. */
  maxBytes?: number;
  /** Whether what was stored survives a loss of power, at the price of a flush per write. Default false. */
  durable?: boolean;
  /** Default: the machine's clock. */
  clock?: Clock;
}

/** Blobs in a folder; see {@link fileBlobs}. */
export interface FileBlobs extends BlobStore {
  /** Whether a blob of so many bytes would be kept. */
  takes(size: number): boolean;
  /** Where nobody else makes a file, for `adopt` to take by a rename. What is left there is removed at a next start. */
  newPath(): string;
}

const lowWater = 0.9;

/**
 * Blobs in a folder of one process, which is made where it is missing; the layout is that of `fileStorage`. With `maxBytes` it is
 * a cache: it drops what was not used for the longest, never what is open. What is there already is counted in the
 * background, by names and sizes.
 *
 * @throws ProxyCacheError `invalid-options`; `storage-format`, `storage-failed` or `storage-full` as `fileStorage`
 */
export function fileBlobs(directory: string, options: FileBlobsOptions = {}): FileBlobs {
  checkFolder('fileBlobs', { directory, options, names: ['maxBytes', 'durable', 'clock'] });
  const { maxBytes = Number.POSITIVE_INFINITY, durable = false, clock = systemClock } = options;
  if (maxBytes !== Number.POSITIVE_INFINITY) expectWhole('fileBlobs: maxBytes', maxBytes, 1);
  const { blobs, temp, blobFolder, upkeep } = openFileRoot(resolve(directory), { durable, clock });
  const used = createUsedBlobs(blobFolder);
  const isBound = maxBytes !== Number.POSITIVE_INFINITY;
  let isCounted = false;
  let trimming: Promise<void> | undefined;
  if (isBound) void count();

  async function count(): Promise<void> {
    // What cannot be listed is not counted; what is used is.
    await used.scan().catch(() => undefined);
    isCounted = true;
    trim();
  }

  function trim(): void {
    if (!isCounted || trimming || used.bytes() <= maxBytes) return;
    trimming = dropOldest().finally(() => {
      trimming = undefined;
    });
  }

  async function dropOldest(): Promise<void> {
    const { signal } = new AbortController();
    while (used.bytes() > maxBytes * lowWater) {
      const digest = used.oldest();
      if (!digest) return;
      const { size } = used.get(digest) ?? { size: 0 };
      used.forget(digest);
      try {
        // Nobody stores it just now, who would hold it; whoever does so from now on comes after this, in the order of calls.
        await blobs.delete(digest, { signal });
      } catch {
        // It takes its room all the same; the next one that is stored tries again.
        used.use(digest, size, clock.now());
        return;
      }
    }
  }

  /** Holds its place while it is stored. */
  async function storing<T>(digest: Digest, size: number, work: () => Promise<T>): Promise<T> {
    parseDigest(digest);
    if (!isBound) return await work();
    const before = used.get(digest);
    const blob = used.use(digest, size, clock.now());
    blob.holders++;
    try {
      const done = await work();
      blob.storedAt = clock.now();
      blob.toldAt = blob.storedAt;
      return done;
    } catch (error) {
      if (!before) used.forget(digest);
      throw error;
    } finally {
      blob.holders--;
      trim();
    }
  }

  function held(digest: Digest, opened: OpenBlob, isUse: boolean): OpenBlob {
    const blob = isUse ? used.use(digest, opened.size, clock.now()) : used.get(digest);
    if (!blob) return opened;
    let isOpen = true;
    blob.holders++;
    return {
      ...opened,
      async close() {
        if (isOpen) blob.holders--;
        isOpen = false;
        trim();
        await opened.close();
      },
    };
  }

  async function ending(digest: Digest, work: () => Promise<boolean>): Promise<boolean> {
    const isGone = await work();
    if (isGone) used.forget(digest);
    return isGone;
  }

  const store: FileBlobs = {
    takes: (size) => size <= maxBytes * lowWater,
    newPath: temp.path,
    async open(digest, options) {
      const opened = await blobs.open(digest, options);
      if (!opened || !isBound) return opened;
      return held(digest, opened, !options.forScrub);
    },
    adopt: (blob) => storing(blob.digest, blob.size, () => blobs.adopt(blob)),
    put: (blob) => storing(blob.digest, blob.bytes.byteLength, () => blobs.put(blob)),
    delete: (digest, options) => ending(digest, () => blobs.delete(digest, options)),
    quarantine: (digest, options) => ending(digest, () => blobs.quarantine(digest, options)),
    digests: (options) => blobs.digests(options),
  };
  return withUpkeep(store, upkeep);
}
