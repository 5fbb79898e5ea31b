import { close, open, read, unlink, writev } from 'node:fs';
import { promisify } from 'node:util';
import { createPlacing } from './placing.ts';
import type { Spans } from './spans.ts';

const openFile = promisify(open);
const closeFile = promisify(close);
const unlinkFile = promisify(unlink);

/** A file that one transfer fills from the front while many readers read it. */
export interface SpoolFile {
  readonly path: string;
  /** How many bytes can be read from the file. */
  readonly written: number;
  /**
   * Appends; written behind the call, some at a time.
   *
   * @param done called when nobody looks at the chunk any more; not called while a disk that hangs may still do
   */
  append(chunk: Uint8Array, done?: () => void): void;
  /**
   * Writes chunks ahead of what is appended, at a position of their own; resolves when they can be read. What is appended
   * there later is the same, and is not written again. Rejects when writing failed.
   */
  place(chunks: readonly Uint8Array[], position: number): Promise<void>;
  /** What was placed and is not appended yet. */
  readonly placed: Pick<Spans, 'endFrom' | 'list' | 'size'>;
  /** Takes nothing that was placed for what is appended there. */
  forget(): void;
  /** Resolves when little enough waits to be written; `undefined`: at once. Rejects when writing failed. */
  ready(): Promise<void> | undefined;
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

// Written at once: more would keep memory for longer, and is no faster.
const mostWritten = 1024 * 1024;

/** What waits to be written. */
interface Chunk {
  bytes: Uint8Array;
  done: () => void;
}

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
  const queue: Chunk[] = [];
  let pending = 0;
  let written = 0;
  let writing = false;
  let reading = 0;
  let failure: Error | undefined;
  let waiters: (() => void)[] = [];
  let closing: Promise<void> | undefined;
  const placing = createPlacing(fd, wake);

  function wake(): void {
    const woken = waiters;
    waiters = [];
    for (const waiter of woken) waiter();
  }

  /** What is there already counts as written. */
  function skipPlaced(): void {
    let count = 0;
    let bytes = 0;
    const end = placing.spans.endFrom(written);
    for (const chunk of queue) {
      if (written + bytes + chunk.bytes.byteLength > end) break;
      count++;
      bytes += chunk.bytes.byteLength;
    }
    written += bytes;
    pending -= bytes;
    placing.spans.cut(written);
    drop(queue.splice(0, count));
  }

  function pump(): void {
    if (!writing && !failure) skipPlaced();
    if (writing || queue.length === 0 || failure) return;
    writing = true;
    const batch = queue.splice(0, countUpTo(mostWritten, queue));
    const memory = batch.map(({ bytes }) => bytes);
    writev(fd, memory, written, (error, count) => {
      writing = false;
      if (error) {
        drop(batch);
        return giveUp(error);
      }
      written += count;
      pending -= count;
      const rest = failure ? [] : remainder(batch, count);
      drop(batch.slice(0, batch.length - rest.length));
      queue.unshift(...rest);
      pump();
      wake();
    });
  }

  function drop(chunks: readonly Chunk[]): void {
    for (const { done } of chunks) done();
  }

  function giveUp(error: Error): void {
    // What can never be written need not stay in memory until the last reader has left.
    drop(queue.splice(0));
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
    drop(queue.splice(0));
    await waitUntil(() => !writing && reading === 0 && !placing.isBusy);
    hooks.closed?.();
    await closeFile(fd);
  }

  return {
    path,
    get written() {
      return written;
    },
    append(bytes, done = () => undefined) {
      if (failure) return done();
      queue.push({ bytes, done });
      pending += bytes.byteLength;
      pump();
    },
    async place(chunks, position) {
      if (!failure) await within('write', () => placing.place(chunks, position)).catch(giveUp);
      if (failure) throw failure;
    },
    placed: placing.spans,
    forget: () => placing.spans.cut(Number.POSITIVE_INFINITY),
    ready: () => (failure || pending > mostPendingBytes ? until(() => pending <= mostPendingBytes) : undefined),
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

/** How many of the first chunks are no more bytes together than `most`, or the first alone. */
function countUpTo(most: number, chunks: readonly Chunk[]): number {
  let bytes = 0;
  let count = 0;
  for (const chunk of chunks) {
    bytes += chunk.bytes.byteLength;
    if (count > 0 && bytes > most) break;
    count++;
  }
  return count;
}

/** What of a batch is left after its first `count` bytes: its last chunks, the first of them maybe in part. */
function remainder(batch: readonly Chunk[], count: number): Chunk[] {
  const rest: Chunk[] = [];
  let skipped = 0;
  for (const { bytes, done } of batch) {
    if (skipped + bytes.byteLength > count) rest.push({ bytes: bytes.subarray(Math.max(count - skipped, 0)), done });
    skipped += bytes.byteLength;
  }
  return rest;
}
