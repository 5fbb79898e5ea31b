import { close, open, read, unlink, writev } from 'node:fs';
import { promisify } from 'node:util';
import { joined } from './packed.ts';

const openFile = promisify(open);
const closeFile = promisify(close);
const unlinkFile = promisify(unlink);

/** A file that one transfer fills from the front while many readers read it. */
export interface SpoolFile {
  readonly path: string;
  /** How many bytes can be read from the file. */
  readonly written: number;
  /** Appends; written in batches behind the call. */
  append(chunk: Uint8Array): void;
  /** Resolves when little enough waits to be written. Rejects when writing failed. */
  ready(): Promise<void>;
  /** Resolves when all is written. Rejects when writing failed. */
  flush(): Promise<void>;
  /**
   * Rejects once `close` was called: its number may be another file's by then. What it rejected for taking too long may
   * still land in `into`.
   */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Closes the file, after what is being written and read. May be called again without harm. */
  close(): Promise<void>;
  /** Removes it, where it still is. */
  remove(): Promise<void>;
}

// Enough for a few writes under way; more would only hide a disk that is slower than the network.
const mostPendingBytes = 4 * 1024 * 1024;

/** What a spool wants to know of a file. */
export interface SpoolFileHooks {
  /** It could not be written to; called once. */
  failed(): void;
  /** It is closed. */
  closed(): void;
  /** Runs a call of the disk, which may hang; rejects when it takes too long. What is read or closed may land later. */
  within<T>(operation: 'write' | 'read' | 'close' | 'remove', work: () => Promise<T>): Promise<T>;
}

/** Opens a new file; one that exists already is an error (re-truncating a used one would stall on its old pages). */
export async function createSpoolFile(path: string, hooks: Partial<SpoolFileHooks> = {}): Promise<SpoolFile> {
  const fd = await openFile(path, 'wx+', 0o600);
  const { within = (_, work) => work() } = hooks;
  let queue: Uint8Array[] = [];
  let pending = 0;
  let written = 0;
  let writing = false;
  let reading = 0;
  let failure: Error | undefined;
  let waiters: (() => void)[] = [];
  let closing: Promise<void> | undefined;

  function wake(): void {
    const woken = waiters;
    waiters = [];
    for (const waiter of woken) waiter();
  }

  function pump(): void {
    if (writing || queue.length === 0 || failure) return;
    writing = true;
    const batch = queue;
    queue = [];
    writev(fd, batch, written, (error, count) => {
      writing = false;
      if (error) return giveUp(error);
      written += count;
      pending -= count;
      const rest = remainder(batch, count);
      if (rest.length > 0) queue = [...rest, ...queue];
      pump();
      wake();
    });
  }

  function giveUp(error: Error): void {
    // What can never be written need not stay in memory until the last reader has left.
    queue = [];
    if (!failure) hooks.failed?.();
    failure ??= error;
    wake();
  }

  async function until(condition: () => boolean): Promise<void> {
    const isOver = () => failure !== undefined || condition();
    if (!isOver()) await within('write', () => waitUntil(isOver)).catch(giveUp);
    if (failure) throw failure;
  }

  async function waitUntil(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => waiters.push(resolve));
  }

  function readOnce(into: Uint8Array, position: number): Promise<number> {
    reading++;
    return new Promise((resolve, reject) => {
      read(fd, into, 0, into.byteLength, position, (error, count) => {
        reading--;
        wake();
        return error ? reject(error) : resolve(count);
      });
    });
  }

  async function closeOnce(): Promise<void> {
    failure ??= closedError();
    queue = [];
    await waitUntil(() => !writing && reading === 0);
    hooks.closed?.();
    await closeFile(fd);
  }

  return {
    path,
    get written() {
      return written;
    },
    append(chunk) {
      if (failure) return;
      const both = joined(queue.at(-1), chunk);
      if (both) queue[queue.length - 1] = both;
      else queue.push(chunk);
      pending += chunk.byteLength;
      pump();
    },
    ready: () => until(() => pending <= mostPendingBytes),
    flush: () => until(() => pending === 0),
    read(into, position) {
      if (closing !== undefined) return Promise.reject(closedError());
      return within('read', () => readOnce(into, position));
    },
    close() {
      closing ??= within('close', closeOnce);
      return closing;
    },
    async remove() {
      await within('remove', () =>
        unlinkFile(path).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT') throw error;
        }),
      );
    },
  };
}

const closedError = () => new Error('the spool file is closed');

/** What of a batch is left after its first `count` bytes. */
function remainder(batch: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skipped = 0;
  for (const chunk of batch) {
    if (skipped + chunk.byteLength > count) rest.push(chunk.subarray(Math.max(count - skipped, 0)));
    skipped += chunk.byteLength;
  }
  return rest;
}
