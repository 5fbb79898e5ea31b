import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Bytes } from '@proxycache/core';
import { onClientLeft } from './client-left.ts';

/** Where a body goes. */
export interface BytesTarget {
  req: IncomingMessage;
  res: ServerResponse;
  /** Called before the first byte is written, so that a body that fails at once can still be answered with an error. */
  writeHead(): void;
  /** The declared Content-Length. */
  expected: number | undefined;
  /** Whether the response may end with its last byte, before the source has said that it is the last. */
  mayEnd: boolean;
}

/**
 * Writes a body at the client's pace. The end of the response is the caller's where it has not come with the last byte.
 * The next chunk is asked for when the one before has been handed to the kernel, because its memory may then be used
 * again. Stops, and closes the source, as soon as the client leaves, whatever is waited for then.
 *
 * It goes from callback to callback, which are made once: promises for each chunk are most of the garbage of a large body.
 *
 * @returns whether all of it was written; `false`: the client has left
 * @throws what the source throws, and when the body is not as long as `expected`
 */
export function writeBytes({ req, res, writeHead, expected, mayEnd }: BytesTarget, body: Bytes): Promise<boolean> {
  const source = body[Symbol.asyncIterator]();
  let length = 0;
  let isOver = false;
  let writeThrough: ((chunk: Uint8Array) => void) | undefined;

  return new Promise<boolean>((resolve, reject) => {
    function take(): void {
      try {
        source.next().then(taken, fail);
      } catch (error) {
        fail(error);
      }
    }

    function taken(step: IteratorResult<Uint8Array>): void {
      if (isOver) return;
      try {
        if (step.done) finish();
        else put(step.value);
      } catch (error) {
        closeSource(source);
        fail(error);
      }
    }

    function put(chunk: Uint8Array): void {
      length += chunk.byteLength;
      if (expected !== undefined && length > expected) {
        throw new Error(`a body of ${expected} bytes was declared, but it is longer`);
      }
      if (chunk.byteLength > 0 && !res.headersSent) writeHead();
      if (chunk.byteLength === 0) take();
      // The host, or middleware of its own, has said that this is all.
      else if (res.writableEnded) leave();
      // A client that has all may leave at once, and was not cut off.
      else if (mayEnd && length === expected && isPlain(res)) res.end(chunk, () => written());
      else write(chunk);
    }

    function write(chunk: Uint8Array): void {
      if (res.write === ServerResponse.prototype.write) {
        res.write(chunk, written);
        return;
      }
      writeThrough ??= throughMiddleware(res, written);
      writeThrough(chunk);
    }

    function written(error?: Error | null): void {
      if (isOver) return;
      if (error) leave();
      else take();
    }

    function finish(): void {
      if (expected !== undefined && length !== expected) {
        throw new Error(`a body of ${expected} bytes was declared, but it ended after ${length}`);
      }
      if (!res.headersSent) writeHead();
      isOver = true;
      resolve(true);
    }

    function leave(): void {
      if (isOver) return;
      isOver = true;
      closeSource(source);
      resolve(false);
    }

    function fail(error: unknown): void {
      if (isOver) return;
      isOver = true;
      reject(error);
    }

    onClientLeft(req, res, leave);
    if (!isOver) take();
  });
}

/** Closes a source without waiting: it may take its time to stop, and nobody is left to be told how that went. */
export function closeSource(source: AsyncIterator<Uint8Array>): void {
  try {
    source.return?.()?.then(undefined, () => undefined);
  } catch {
    // Nothing is left to be done for a source that cannot even be closed.
  }
}

/**
 * Writes through middleware that wraps `write` (compression, a log of bodies). It may keep a chunk and forget a callback:
 * each chunk is a copy.
 *
 * @param written called when the next chunk is wanted, or when the response is over
 */
function throughMiddleware(res: ServerResponse, written: () => void): (chunk: Uint8Array) => void {
  let isWaiting = false;
  const goOn = () => {
    if (!isWaiting) return;
    isWaiting = false;
    written();
  };
  // From before the first write on, since middleware may drain while it writes. It may end the response, too.
  res.on('drain', goOn);
  res.once('close', goOn);
  return (chunk) => {
    isWaiting = true;
    const answer: unknown = res.write(Buffer.from(chunk));
    // As in Node's own pipe, `true` is believed: middleware with a buffer of its own has a `drain` of its own. One that
    // returns nothing leaves it to the response to say.
    if (typeof answer === 'boolean' ? answer : !res.writableNeedDrain) goOn();
  };
}

/** Whether what is written goes to the connection as it is, and callbacks are called when it has. */
export function isPlain(res: ServerResponse): boolean {
  return res.write === ServerResponse.prototype.write && res.end === ServerResponse.prototype.end;
}
