import type { Bytes, WholeBytes } from '../runtime/bytes.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { HttpResponse } from './message.ts';

/** Whether a body is yet to be read. */
export function isStream(body: HttpResponse['body'] | undefined): body is Bytes {
  return body !== null && body !== undefined && !(body instanceof Uint8Array);
}

/** What a body is made of. */
export interface BodySource {
  /** Gives the chunks; called when the first one is wanted. */
  open(): Bytes;
  /** The bytes that were announced, where they were. */
  length: number | undefined;
  /** Lets go of what the body is read from. */
  close(): Promise<void>;
  /** Told once it is over: how many bytes were read, and whether those are all. Default: nobody is. */
  over?: BodyOver | undefined;
}

/** Told of a body that is over: see {@link BodySource.over}. */
export type BodyOver = (bytes: number, complete: boolean) => void;

/**
 * A body that closes its source once it is over: at its end, on a failure, and when the reader returns, also before the
 * first chunk. It fails rather than end with another length than was announced, since a short body that ends in good
 * order would be taken for the rest of the connection, or for the whole.
 */
export function createBody({ open, length, close, over: tell }: BodySource): Bytes {
  let chunks: AsyncIterator<Uint8Array> | undefined;
  let sent = 0;
  let over = false;

  // The reader has what it wanted, or was told what failed: that the source would not close is of no use to it.
  async function finish(isWhole: boolean): Promise<void> {
    over = true;
    tell?.(sent, isWhole || sent === length);
    await settled(async () => chunks?.return?.());
    await settled(close);
  }

  async function settled(ending: () => Promise<unknown>): Promise<void> {
    try {
      await ending();
    } catch {
      // See above.
    }
  }

  function expectLength(isDone: boolean): void {
    if (length === undefined || (isDone ? sent >= length : sent <= length)) return;
    const verb = isDone ? 'ended after' : 'went on to';
    throw new ProxyCacheError('storage-failed', `a body ${verb} ${sent} of ${length} bytes; the response is cut off`);
  }

  async function ended(isWhole: boolean): Promise<{ done: true; value: undefined }> {
    await finish(isWhole);
    return { done: true, value: undefined };
  }

  async function failed(error: unknown): Promise<never> {
    if (!over) await finish(false);
    throw error;
  }

  function taken(result: IteratorResult<Uint8Array>): typeof result | Promise<typeof result> {
    // The reader has left meanwhile, which ended the source.
    if (over) return done();
    try {
      if (!result.done) sent += result.value.byteLength;
      expectLength(result.done === true);
    } catch (error) {
      return failed(error);
    }
    return result.done ? ended(true) : result;
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    // From callback to callback, which are made once: promises for each chunk are most of the garbage of a large body.
    next() {
      if (over) return done();
      try {
        chunks ??= open()[Symbol.asyncIterator]();
        return chunks.next().then(taken, failed);
      } catch (error) {
        return failed(error);
      }
    },
    return: () => (over ? done() : ended(false)),
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

const done = () => Promise.resolve({ done: true as const, value: undefined });

/** A body of one chunk that is here. `close`, `over`: as of {@link createBody}. */
export function bodyOf(chunk: Uint8Array, { close, over }: Pick<BodySource, 'close' | 'over'>): WholeBytes {
  let state: 'unread' | 'iterated' | 'taken' | 'over' = 'unread';
  let closing: Promise<void> | undefined;

  function end(complete: boolean): Promise<void> {
    if (state !== 'over') over?.(state === 'unread' ? 0 : chunk.byteLength, complete);
    state = 'over';
    closing ??= close().catch(() => undefined);
    return closing;
  }

  async function ended(): Promise<{ done: true; value: undefined }> {
    await end(state === 'iterated');
    return { done: true, value: undefined };
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    next() {
      if (state !== 'unread') return ended();
      state = 'iterated';
      return Promise.resolve({ done: false, value: chunk });
    },
    return: ended,
  };
  return {
    [Symbol.asyncIterator]: () => iterator,
    takeWhole() {
      if (state !== 'unread') throw new TypeError('a body was read twice');
      state = 'taken';
      return { bytes: chunk, over: (complete) => void end(complete) };
    },
  };
}
