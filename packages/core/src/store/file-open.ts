import { abortable } from '../runtime/collapse.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { OpenBlob } from './blob-store.ts';
import { closeFile, openFile, readAt, statOpenFile, storageFailure, systemCode } from './file-system.ts';

/**
 * Opens a local file as a blob.
 *
 * @returns `undefined` when there is no such file
 * @throws ProxyCacheError `storage-failed` for anything else that hinders, such as a folder in its place
 */
export async function openFileBlob(file: string, signal: AbortSignal): Promise<OpenBlob | undefined> {
  signal.throwIfAborted();
  const opening = open(file);
  try {
    return await abortable(opening, signal);
  } catch (error) {
    // On a disk that hangs the caller leaves first: the descriptor that comes too late is closed.
    opening.then(
      (blob) => blob?.close(),
      () => undefined,
    );
    throw error;
  }
}

async function open(file: string): Promise<OpenBlob | undefined> {
  let fd: number;
  try {
    fd = await openFile(file, 'r');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw storageFailure(`open ${file}`, error);
  }
  try {
    const stats = await statOpenFile(fd);
    if (!stats.isFile()) throw new ProxyCacheError('storage-failed', `could not open ${file}: it is not a file`);
    return openBlob(file, fd, stats.size);
  } catch (error) {
    await closeFile(fd).catch(() => undefined);
    throw storageFailure(`open ${file}`, error);
  }
}

function openBlob(file: string, fd: number, size: number): OpenBlob {
  let reads = 0;
  let closing: Promise<void> | undefined;
  let idle: () => void = () => undefined;

  async function close(): Promise<void> {
    // A descriptor closed under a running read may be another file's by the time the read is carried out.
    if (reads > 0) {
      await new Promise<void>((resolve) => {
        idle = resolve;
      });
    }
    await closeFile(fd);
  }

  return {
    kind: 'file',
    size,
    async read(into, position) {
      if (closing !== undefined) throw new ProxyCacheError('storage-failed', `could not read ${file}: it was closed`);
      reads++;
      try {
        return await readAt(fd, into, position);
      } catch (error) {
        throw storageFailure(`read ${file}`, error);
      } finally {
        reads--;
        if (reads === 0) idle();
      }
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}
