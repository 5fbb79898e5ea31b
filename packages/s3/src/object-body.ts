import type { Readable } from 'node:stream';
import { afterRunning, type ByteRange, type Bytes, type Digest, ProxyCacheError } from '@proxycache/core';
import type { S3Settings } from './settings.ts';

/** A part of an object on its way. */
export interface ObjectAnswer {
  /** Of the whole object. */
  size: number;
  etag: string | undefined;
  body: Readable;
  /** Ends it, and its connection unless all of it has arrived. */
  leave(): void;
}

/** Where a body is to begin and end, and who gives it. */
export interface Reading {
  digest: Digest;
  /** Of the whole object. */
  size: number;
  from: number;
  to: number;
  /** What came already. Default: nothing, the body is asked for when it is first read. */
  first?: ObjectAnswer;
  /** Of the object that it is to be of. Without one a body that breaks off has no rest. */
  etag: string | undefined;
  /** `undefined`: there is no such object any more. */
  ask(rest: ByteRange, given: { ifMatch: string | undefined; signal: AbortSignal }): Promise<ObjectAnswer | undefined>;
}

/** A body that is asked for again from where it broke off or stood still; not twice at the same place. */
export function objectBody(settings: S3Settings, reading: Reading): { bytes: Bytes; close(): void } {
  const { digest, from, to } = reading;
  let { etag } = reading;
  const closing = new AbortController();
  let answer = reading.first;
  let source = answer && chunksOf(answer);
  let position = from;
  let brokeAt = -1;

  function chunksOf({ body }: ObjectAnswer): AsyncIterator<Uint8Array> {
    return body[Symbol.asyncIterator]();
  }

  async function take(chunks: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array, undefined>> {
    const result = await orStill(chunks.next());
    if (!result.done) {
      position += result.value.byteLength;
      return result;
    }
    if (position <= to) throw new Error(`the body ended ${to + 1 - position} bytes early`);
    return { done: true, value: undefined };
  }

  /** A connection that stands still may be the only one that does. */
  async function orStill<T>(next: Promise<T>): Promise<T> {
    return await new Promise((resolve, reject) => {
      const ms = settings.answerWithinMs;
      const cancel = afterRunning(settings.clock, ms, () => {
        reject(new Error(`nothing came for ${ms} ms`));
        answer?.leave();
      });
      next.finally(cancel).then(resolve, reject);
    });
  }

  function close(): void {
    if (closing.signal.aborted) return;
    closing.abort(new ProxyCacheError('storage-failed', `could not read ${digest}: it was closed`));
    answer?.leave();
  }

  async function resume(error: Error): Promise<AsyncIterator<Uint8Array>> {
    answer?.leave();
    // Without it nobody knows whether the rest is of the same object.
    if (brokeAt === position || position > to || etag === undefined) throw failed(error);
    brokeAt = position;
    settings.tell({ type: 's3-read-resumed', digest, position, error });
    return await begin(error);
  }

  /** The object that was opened, or where nothing of that was read, another of its size in its place. */
  async function begin(error: Error): Promise<AsyncIterator<Uint8Array>> {
    const isFirst = answer === undefined;
    const range = { from: position, to };
    const next = await reading.ask(range, { ifMatch: isFirst ? undefined : etag, signal: closing.signal });
    if (next === undefined) throw failed(error);
    if (isFirst ? next.size !== reading.size : next.etag !== etag) {
      next.leave();
      throw failed(new Error('it was stored anew meanwhile'));
    }
    etag = next.etag;
    answer = next;
    if (closing.signal.aborted) next.leave();
    return chunksOf(next);
  }

  function failed(cause: Error): ProxyCacheError {
    const message = `S3 (bucket ${settings.bucket}) gave ${digest} only up to byte ${position}: ${cause.message}`;
    return new ProxyCacheError('storage-failed', message, { cause });
  }

  async function next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      closing.signal.throwIfAborted();
      source ??= await begin(new Error('it is not there any more'));
      try {
        return await take(source);
      } catch (error) {
        closing.signal.throwIfAborted();
        source = await resume(error instanceof Error ? error : new Error(String(error)));
      }
    }
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    next,
    async return() {
      close();
      return { done: true, value: undefined };
    },
  };
  return { bytes: { [Symbol.asyncIterator]: () => iterator }, close };
}
