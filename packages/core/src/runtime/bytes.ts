/**
 * A body on its way: single use. A chunk is the consumer's to read until it calls `next()` or `return()`; then the producer
 * may reuse its memory. Others may be reading the same: nobody writes to it, or transfers it. `return()` closes the source even before the first `next()`, so a producer that holds a resource
 * from the start writes its iterator by hand: an async generator that was never started runs no `finally`.
 */
export type Bytes = AsyncIterable<Uint8Array>;

/** A body that is here in one piece: iterated as any other, or had as a whole, without a promise. */
export interface WholeBytes extends Bytes {
  /** In place of iterating, once. `over` is to be called when they have been sent, or will not be: they are lent until then. */
  takeWhole(): { bytes: Uint8Array; over(complete: boolean): void };
}

/** Whether a body can be had as a whole. */
export function isWhole(body: Bytes | Uint8Array | null): body is WholeBytes {
  return body !== null && 'takeWhole' in body;
}

/** The bytes as a body of one chunk (none when empty). */
export async function* bytesOf(chunk: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  if (chunk.byteLength > 0) yield chunk;
}

/**
 * Reads a whole body into one array.
 *
 * @param limit the most bytes to take
 * @returns `undefined` when the body is longer than `limit`; the source is closed then
 */
export async function collect(bytes: Bytes, limit: number): Promise<Uint8Array | undefined> {
  // One array that grows, not a list of chunks: whoever sends single bytes would make each of them cost a hundred.
  let whole = new Uint8Array(0);
  let length = 0;
  for await (const chunk of bytes) {
    const end = length + chunk.byteLength;
    if (end > limit) return undefined;
    if (end > whole.byteLength) {
      const grown = new Uint8Array(Math.max(end, Math.min(limit, 2 * whole.byteLength)));
      grown.set(whole.subarray(0, length));
      whole = grown;
    }
    whole.set(chunk, length);
    length = end;
  }
  return length === whole.byteLength ? whole : whole.slice(0, length);
}

/** Closes a body that will not be read, so that its source can let go. Never throws. */
export async function discard(bytes: Bytes): Promise<void> {
  try {
    await bytes[Symbol.asyncIterator]().return?.();
  } catch {
    // The body was unwanted: why it could not be closed is of no use to anyone.
  }
}

/**
 * The same body, once its first chunk is here: what fails before that can still be told by a status. A body that fails
 * is closed.
 */
export async function begun(bytes: Bytes): Promise<Bytes> {
  const source = bytes[Symbol.asyncIterator]();
  let first: IteratorResult<Uint8Array> | undefined = await source.next();
  const iterator: AsyncIterator<Uint8Array> = {
    next() {
      const result = first;
      first = undefined;
      return result ? Promise.resolve(result) : source.next();
    },
    async return() {
      first = undefined;
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/**
 * A body of `length` bytes that goes on elsewhere, once, when its source fails or ends early.
 *
 * @param resume gives the rest, after the bytes `delivered` so far
 */
export function resumed(
  bytes: Bytes,
  length: number,
  resume: (delivered: number, error: unknown) => Promise<Bytes>,
): Bytes {
  let source = bytes[Symbol.asyncIterator]();
  let delivered = 0;
  let isResumed = false;
  let left = false;

  async function take(): Promise<IteratorResult<Uint8Array, undefined>> {
    const result = await source.next();
    if (!result.done) {
      delivered += result.value.byteLength;
      return result;
    }
    if (delivered < length && !left) throw new Error(`content ended after ${delivered} of ${length} bytes`);
    return { done: true, value: undefined };
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      try {
        return await take();
      } catch (error) {
        if (left || delivered >= length) return { done: true, value: undefined };
        if (isResumed) throw error;
        isResumed = true;
        source = (await resume(delivered, error))[Symbol.asyncIterator]();
        if (left) await source.return?.();
        return take();
      }
    },
    async return() {
      left = true;
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
