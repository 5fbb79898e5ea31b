import type { Bytes } from './bytes.ts';

/**
 * A body whose chunks are taken one by one, until there is none, taking fails or nobody reads it any more. Its end comes
 * once; whoever left it is told of no failure.
 *
 * @param take gives the next chunk; `undefined`: there is none
 * @param how.left fires when it ends, however it does
 * @param how.close lets go of what it is taken from, once, before its end is told
 */
export function takenBytes(
  take: () => Promise<Uint8Array | undefined>,
  { left, close }: { left: AbortController; close(): Promise<unknown> },
): Bytes {
  async function finish(): Promise<IteratorReturnResult<undefined>> {
    if (!left.signal.aborted) {
      left.abort();
      await close();
    }
    return { done: true, value: undefined };
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      if (left.signal.aborted) return { done: true, value: undefined };
      try {
        const value = await take();
        return value ? { done: false, value } : await finish();
      } catch (error) {
        const wasLeft = left.signal.aborted;
        await finish();
        if (wasLeft) return { done: true, value: undefined };
        throw error;
      }
    },
    return: finish,
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
