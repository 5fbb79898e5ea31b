import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Bytes } from '@proxycache/core';
import { watchClient } from './client-left.ts';

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
 * again. Stops, and closes the source, as soon as the client leaves.
 *
 * @returns whether all of it was written; `false`: the client has left
 * @throws what the source throws, and when the body is not as long as `expected`
 */
export async function writeBytes(
  { req, res, writeHead, expected, mayEnd }: BytesTarget,
  body: Bytes,
): Promise<boolean> {
  const client = watchClient(req, res);
  const source = body[Symbol.asyncIterator]();
  let length = 0;
  for (;;) {
    const step = await client.orLeft(source.next());
    if (step === undefined) return abandon(source);
    if (step.done) break;
    length += step.value.byteLength;
    if (expected !== undefined && length > expected) {
      closeSource(source);
      throw new Error(`a body of ${expected} bytes was declared, but it is longer`);
    }
    if (step.value.byteLength === 0) continue;
    try {
      if (!res.headersSent) writeHead();
      // A client that has all may leave at once, and was not cut off.
      const written = mayEnd && length === expected ? writeLast(res, step.value) : write(res, step.value);
      if (!(await client.orLeft(written))) return abandon(source);
    } catch (error) {
      closeSource(source);
      throw error;
    }
  }
  if (expected !== undefined && length !== expected) {
    throw new Error(`a body of ${expected} bytes was declared, but it ended after ${length}`);
  }
  if (!res.headersSent) writeHead();
  return true;
}

function abandon(source: AsyncIterator<Uint8Array>): false {
  closeSource(source);
  return false;
}

/** Closes a source without waiting: it may take its time to stop, and nobody is left to be told how that went. */
export function closeSource(source: AsyncIterator<Uint8Array>): void {
  try {
    source.return?.()?.then(undefined, () => undefined);
  } catch {
    // Nothing is left to be done for a source that cannot even be closed.
  }
}

/** Hands a chunk to the kernel: done when its memory is free again, `false` when the connection is broken. */
function write(res: ServerResponse, chunk: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    if (res.write === ServerResponse.prototype.write) {
      res.write(chunk, (error) => resolve(!error));
      return;
    }
    // Middleware that wraps `write` (compression) may keep the chunk and forget the callback: it gets a copy.
    if (res.write(Buffer.from(chunk))) resolve(true);
    else res.once('drain', () => resolve(true));
  });
}

/** The same, and ends the response. */
function writeLast(res: ServerResponse, chunk: Uint8Array): Promise<boolean> {
  const { write: plainWrite, end: plainEnd } = ServerResponse.prototype;
  if (res.write !== plainWrite || res.end !== plainEnd) return write(res, chunk);
  return new Promise((resolve) => void res.end(chunk, () => resolve(true)));
}
