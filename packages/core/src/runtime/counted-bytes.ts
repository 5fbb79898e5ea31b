import { type Bytes, isWhole } from './bytes.ts';

/**
 * The same body, which tells once how much of it was taken, and whether that is all: at its end, at a failure, or when its
 * reader returns. One that can be had as a whole still can.
 *
 * @param announced a body of which so many bytes were taken is whole, also where nobody waits for its end
 */
export function countedBytes(
  body: Bytes,
  announced: number | undefined,
  tell: (bytes: number, complete: boolean) => void,
): Bytes {
  const source = body[Symbol.asyncIterator]();
  let bytes = 0;
  let isTaken = false;
  let isTold = false;
  const tellOnce = (complete: boolean) => {
    if (!isTold) tell(bytes, complete);
    isTold = true;
  };
  const over = (ended: boolean) => tellOnce(ended || (!isTaken && bytes === announced));
  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      try {
        const result = await source.next();
        if (!result.done) bytes += result.value.byteLength;
        else over(true);
        return result.done ? { done: true, value: undefined } : result;
      } catch (error) {
        over(false);
        throw error;
      }
    },
    async return() {
      over(false);
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  const counted: Bytes = { [Symbol.asyncIterator]: () => iterator };
  if (!isWhole(body)) return counted;
  return Object.assign(counted, {
    takeWhole() {
      const whole = body.takeWhole();
      isTaken = true;
      bytes = whole.bytes.byteLength;
      const settle = (complete: boolean) => {
        tellOnce(complete);
        whole.over(complete);
      };
      return { bytes: whole.bytes, over: settle };
    },
  });
}
