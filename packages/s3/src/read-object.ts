import type { Readable } from 'node:stream';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { type ByteRange, type Bytes, type Digest, type OpenBlob, ProxyCacheError } from '@proxycache/core';
import type { Calls } from './calls.ts';
import { countdown } from './deadline.ts';
import type { ObjectKeys } from './object-keys.ts';
import { refusalOf } from './s3-failure.ts';
import type { S3Settings } from './settings.ts';

/** What reading needs. */
export interface ReadParts {
  settings: S3Settings;
  calls: Calls;
  keys: ObjectKeys;
}

/** A part of an object on its way. */
interface Answer {
  /** Of the whole object. */
  size: number;
  etag: string | undefined;
  body: Readable;
  /** Ends it, and its connection unless all of it has arrived. */
  leave(): void;
}

type Asked = { digest: Digest; range?: ByteRange | undefined; ifMatch?: string | undefined; signal: AbortSignal };

/** Opens a blob; `undefined`: it is not stored. Its body goes on where it broke off, as long as it is the same object. */
export async function openObject(
  parts: ReadParts,
  { digest, range, signal }: { digest: Digest; range: ByteRange | undefined; signal: AbortSignal },
): Promise<OpenBlob | undefined> {
  const first = await ask(parts, { digest, range, signal });
  if (first === undefined) return undefined;
  const { size, etag } = first;
  const { from, to } = range ?? { from: 0, to: size - 1 };
  const body = resumingBody(parts, first, {
    digest,
    from,
    to,
    async goOn(rest, signal) {
      // Without it nobody knows whether the rest is of the same object.
      if (etag === undefined) return undefined;
      return await ask(parts, { digest, range: rest, ifMatch: etag, signal });
    },
  });
  return { kind: 'stream', size, body: body.bytes, close: async () => body.close() };
}

async function ask({ settings, calls, keys }: ReadParts, asked: Asked): Promise<Answer | undefined> {
  const { digest, range, ifMatch, signal } = asked;
  const key = keys.blob(digest);
  const left = new AbortController();
  try {
    return await calls.run({ operation: 'GetObject', key, signal }, async ({ abortSignal }) => {
      abortSignal.addEventListener('abort', () => left.abort(), { once: true });
      const command = new GetObjectCommand({
        Bucket: settings.bucket,
        Key: key,
        ...(range && { Range: `bytes=${range.from}-${range.to}` }),
        ...(ifMatch !== undefined && { IfMatch: ifMatch }),
      });
      const { Body, ContentLength, ContentRange, ETag } = await settings.client.send(command, {
        abortSignal: left.signal,
      });
      const body = Body as Readable;
      // Whoever reads it is told.
      body.on('error', () => undefined);
      const answer = { etag: ETag, body, leave: () => leaveBody(body, left) };
      try {
        return { ...answer, size: sizeOf({ range, length: ContentLength, told: ContentRange }) };
      } catch (error) {
        left.abort();
        throw error;
      }
    });
  } catch (error) {
    if (error instanceof ProxyCacheError && refusalOf(error.cause)?.code === 'NoSuchKey') return undefined;
    throw error;
  }
}

/** RFC 9110 14.4, and a whole object where that is what was asked for. @returns the size of the whole object */
function sizeOf(answer: {
  range: ByteRange | undefined;
  length: number | undefined;
  told: string | undefined;
}): number {
  const { range, length, told } = answer;
  if (length === undefined) throw new ProxyCacheError('storage-failed', 'S3 did not say how long an object is');
  if (told === undefined) {
    // A range may be all there is.
    if (!range || (range.from === 0 && length === range.to + 1)) return length;
    throw new ProxyCacheError('storage-failed', 'S3 answered a part with the whole object');
  }
  const [, from, to, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(told) ?? [];
  const isAsked = Number(from) === range?.from && Number(to) === range?.to && length === Number(to) - Number(from) + 1;
  if (isAsked) return Number(size);
  throw new ProxyCacheError('storage-failed', `S3 answered another part than it was asked for: ${told}`);
}

function leaveBody(body: Readable, left: AbortController): void {
  if (body.readableEnded || body.destroyed) return;
  // What has arrived already leaves a connection that can be used again.
  if ('complete' in body && body.complete) body.resume();
  else {
    left.abort();
    body.destroy();
  }
}

/** Where a body is to begin and end, and who gives the rest of it. */
interface Reading {
  digest: Digest;
  from: number;
  to: number;
  /** `undefined`: there is no such rest. */
  goOn(rest: ByteRange, signal: AbortSignal): Promise<Answer | undefined>;
}

/** A body that is asked for again from where it broke off or stood still; not twice at the same place. */
function resumingBody(
  { settings }: ReadParts,
  first: Answer,
  { digest, from, to, goOn }: Reading,
): { bytes: Bytes; close(): void } {
  const closing = new AbortController();
  let answer = first;
  let source = chunksOf(first);
  let position = from;
  let brokeAt = -1;

  function chunksOf({ body }: Answer): AsyncIterator<Uint8Array> {
    return body[Symbol.asyncIterator]();
  }

  async function take(): Promise<IteratorResult<Uint8Array, undefined>> {
    const result = await orStill(source.next());
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
      const timer = countdown(settings.clock, ms, () => {
        reject(new Error(`nothing came for ${ms} ms`));
        answer.leave();
      });
      next.finally(timer.stop).then(resolve, reject);
    });
  }

  function close(): void {
    if (closing.signal.aborted) return;
    closing.abort(new ProxyCacheError('storage-failed', `could not read ${digest}: it was closed`));
    answer.leave();
  }

  async function resume(error: Error): Promise<void> {
    answer.leave();
    if (brokeAt === position || position > to) throw failed(error);
    brokeAt = position;
    settings.tell({ type: 's3-read-resumed', digest, position, error });
    const next = await goOn({ from: position, to }, closing.signal);
    if (next === undefined) throw failed(error);
    if (next.etag !== first.etag) {
      next.leave();
      throw failed(new Error('it was stored anew meanwhile'));
    }
    answer = next;
    source = chunksOf(next);
    if (closing.signal.aborted) next.leave();
  }

  function failed(cause: Error): ProxyCacheError {
    const message = `S3 (bucket ${settings.bucket}) gave ${digest} only up to byte ${position}: ${cause.message}`;
    return new ProxyCacheError('storage-failed', message, { cause });
  }

  async function next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      closing.signal.throwIfAborted();
      try {
        return await take();
      } catch (error) {
        closing.signal.throwIfAborted();
        await resume(error instanceof Error ? error : new Error(String(error)));
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
