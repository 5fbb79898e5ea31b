import type { Bytes } from './bytes.ts';

/**
 * The same body, of which a copy is given away once all of it came.
 *
 * @param length in bytes; of a body of another length nothing is given
 */
export function copied(body: Bytes, length: number, give: (copy: Uint8Array) => void): Bytes {
  const source = body[Symbol.asyncIterator]();
  let copy: Uint8Array | undefined;
  let at = 0;

  function take(chunk: Uint8Array): void {
    copy ??= new Uint8Array(length);
    if (at + chunk.byteLength <= length) copy.set(chunk, at);
    at += chunk.byteLength;
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      const result = await source.next();
      if (!result.done) {
        take(result.value);
        return result;
      }
      if (copy && at === length) give(copy);
      copy = undefined;
      return { done: true, value: undefined };
    },
    async return() {
      copy = undefined;
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
