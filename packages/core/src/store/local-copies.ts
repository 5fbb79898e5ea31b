import type { BlobStore } from './blob-store.ts';
import { copyToTemp } from './file-copy.ts';
import { linkFile, removeFile, systemCode } from './file-system.ts';
import type { FileBlobs } from './local-blobs.ts';

/** A copy of a file that goes to another store. */
export interface LocalCopy {
  /** It is local from now on. Never rejects. */
  keep(): Promise<void>;
  /** Never rejects. */
  drop(): Promise<void>;
}

/** Puts copies into a local store; what it cannot take is not local, and nobody is told. */
export interface LocalCopies {
  /** Before the file is taken: by a link, else bytes are copied while it is. */
  begin(blob: Parameters<BlobStore['adopt']>[0]): Promise<LocalCopy>;
  put(blob: Parameters<BlobStore['put']>[0]): Promise<void>;
}

export function createLocalCopies(local: FileBlobs): LocalCopies {
  /** Nobody leaves. A signal for each: one for all would have as many listeners as there are calls. */
  const forGood = () => new AbortController().signal;

  /** What is there may be another one, of wrong bytes. */
  async function orNone(
    storing: Promise<void>,
    { digest }: Pick<Parameters<BlobStore['put']>[0], 'digest'>,
  ): Promise<void> {
    await storing.catch(() => local.delete(digest, { signal: forGood() })).catch(() => undefined);
  }

  async function linked(file: string): Promise<{ path: Promise<string> }> {
    const path = local.newPath();
    try {
      await linkFile(file, path);
      return { path: Promise.resolve(path) };
    } catch (error) {
      // Of another file system, or of one that has no links.
      if (systemCode(error) === 'ENOENT') throw error;
      const copying = copyToTemp(file, { temp: { path: local.newPath }, durable: false, signal: forGood() });
      copying.catch(() => undefined);
      return { path: copying };
    }
  }

  return {
    async begin({ file, digest, size }) {
      const copy = local.takes(size) ? await linked(file).catch(() => undefined) : undefined;
      const drop = async () => {
        const path = await copy?.path.catch(() => undefined);
        if (path !== undefined) await removeFile(path).catch(() => undefined);
      };
      return {
        async keep() {
          const adopt = async () => {
            const path = await copy?.path;
            if (path === undefined) throw new Error('there is no copy of it');
            await local.adopt({ file: path, digest, size, signal: forGood() });
          };
          await orNone(adopt(), { digest });
          await drop();
        },
        drop,
      };
    },
    async put(blob) {
      const isKept = local.takes(blob.bytes.byteLength);
      await orNone(
        isKept ? local.put({ ...blob, signal: forGood() }) : Promise.reject(new Error('it is too large')),
        blob,
      );
    },
  };
}
