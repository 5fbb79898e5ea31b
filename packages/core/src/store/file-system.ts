import fs from 'node:fs';
import { promisify } from 'node:util';
import { ProxyCacheError } from '../runtime/errors.ts';

// Node's callback API wrapped in promises: a call of `fs.promises` costs several times as much as the system call.
export const openFile: (path: string, flags: string | number, mode?: number) => Promise<number> = promisify(fs.open);
export const closeFile: (fd: number) => Promise<void> = promisify(fs.close);
export const statFile: (path: string) => Promise<fs.Stats> = promisify(fs.stat);
export const statOpenFile: (fd: number) => Promise<fs.Stats> = promisify(fs.fstat);
export const removeFile: (path: string) => Promise<void> = promisify(fs.unlink);
export const removeFolder: (path: string) => Promise<void> = promisify(fs.rmdir);
export const renameFile: (from: string, to: string) => Promise<void> = promisify(fs.rename);
export const readWhole: (path: string) => Promise<Buffer> = promisify(fs.readFile);
export const linkFile: (existing: string, path: string) => Promise<void> = promisify(fs.link);
export const touchFile: (path: string, atime: number, mtime: number) => Promise<void> = promisify(fs.utimes);
const syncFile: (fd: number) => Promise<void> = promisify(fs.fsync);
const readFd: (
  fd: number,
  into: Uint8Array,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesRead: number }> = promisify(fs.read);

const writeFd: (fd: number, from: Uint8Array, offset: number, length: number) => Promise<{ bytesWritten: number }> =
  promisify(fs.write);

/** Writes all the bytes where the file's position is. */
export async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.byteLength; ) {
    const { bytesWritten } = await writeFd(fd, bytes, written, bytes.byteLength - written);
    written += bytesWritten;
  }
}

/**
 * Makes a new file that holds the bytes.
 *
 * @param how.flush whether they are to survive a loss of power
 * @param how.modifiedAt its time, in s since the epoch. Default: the machine's
 */
export async function writeNew(
  path: string,
  bytes: Uint8Array,
  { mode, flush, modifiedAt }: { mode: number; flush: boolean; modifiedAt?: number | undefined },
): Promise<void> {
  const fd = await openFile(path, 'wx', mode);
  let touched: Promise<void> | undefined;
  try {
    await writeAll(fd, bytes);
    if (flush) await syncFile(fd);
    // Beside the close: whoever waits for a file waits for each step of the disk.
    touched = modifiedAt === undefined ? undefined : touchFile(path, modifiedAt, modifiedAt);
  } finally {
    await Promise.all([closeFile(fd), touched]);
  }
}

/** Fills `into` from `position` on as far as the file goes. @returns the number of bytes, 0 at the end */
export async function readAt(fd: number, into: Uint8Array, position: number): Promise<number> {
  let filled = 0;
  while (filled < into.byteLength) {
    const { bytesRead } = await readFd(fd, into, filled, into.byteLength - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

/** Makes the content of a file, or the names in a folder, survive a loss of power. */
export async function syncToDisk(path: string): Promise<void> {
  const fd = await openFile(path, 'r');
  try {
    await syncFile(fd);
  } finally {
    await closeFile(fd);
  }
}

/** As {@link syncToDisk}, at once: for a start. */
export function syncNow(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** The system's code of an error, such as `'ENOENT'`; `undefined` for errors that have none. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** The error's answer for "not there" as `undefined`; every other failure is thrown on. */
export function unlessMissing(error: unknown): undefined {
  if (systemCode(error) !== 'ENOENT') throw error;
  return undefined;
}

/** What concerns one file alone. The last two are EBADMSG and EUCLEAN of Linux, which Node has no names for. */
const codesOfOneFile: ReadonlySet<string | undefined> = new Set([
  ...['EIO', 'EACCES', 'EPERM', 'EISDIR'],
  ...['Unknown system error -74', 'Unknown system error -117'],
]);

/**
 * Whether a file is there and the disk does not give it, whatever it gives of others. Too many open files, or a server that
 * is away, say nothing of a file.
 */
export function isUnreadable(error: unknown): boolean {
  return codesOfOneFile.has(systemCode(error));
}

/** What a failed step of a store is thrown as; `doing` continues "could not". Our own errors and aborts pass. */
export function storageFailure(doing: string, cause: unknown): unknown {
  if (cause instanceof ProxyCacheError) return cause;
  const code = systemCode(cause);
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ProxyCacheError(full ? 'storage-full' : 'storage-failed', `could not ${doing}: ${why}`, { cause });
}

/** A handler for `catch`: throws the failure on as {@link storageFailure}, or the reason of a caller that gave up. */
export function orFail(doing: string, signal: AbortSignal): (error: unknown) => never {
  return (error) => {
    throw signal.aborted ? signal.reason : storageFailure(doing, error);
  };
}
