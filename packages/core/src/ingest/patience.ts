import type { Bytes } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';

/**
 * The same body, whose every chunk is here within `ms`; else it is closed, and ends with `late`'s error.
 */
export function patientBody(body: Bytes, ms: number, { clock, late }: { clock: Clock; late: () => Error }): Bytes {
  const source = body[Symbol.asyncIterator]();
  let ended = false;

  async function close(): Promise<IteratorReturnResult<undefined>> {
    ended = true;
    await source.return?.();
    return { done: true, value: undefined };
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    next() {
      if (ended) return Promise.resolve({ done: true, value: undefined });
      return new Promise((resolve, reject) => {
        const cancel = clock.after(ms, () => {
          reject(late());
          void close().catch(() => undefined);
        });
        source
          .next()
          .finally(cancel)
          .then((result) => resolve(result.done ? { done: true, value: undefined } : result), reject);
      });
    },
    return: close,
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
