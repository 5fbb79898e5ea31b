import { type Bytes, discard } from '../runtime/bytes.ts';

/** How much room is claimed at a time for a body whose size nobody told. */
export const claimStep: number = 64 * 1024 * 1024;

/**
 * A body with room claimed for all of it, or, where nobody told its size, for `least` bytes and then step by step.
 *
 * @param body.step how many bytes are claimed at a time then. Default {@link claimStep}
 * @throws what `claim` does; the body is closed then
 */
export async function withRoom(
  {
    total,
    body,
    least,
    step = claimStep,
  }: { total?: number | undefined; body: Bytes; least: number; step?: number | undefined },
  claim: (bytes: number) => Promise<void>,
): Promise<Bytes> {
  const room = total ?? Math.max(least, step);
  try {
    await claim(room);
  } catch (error) {
    await discard(body);
    throw error;
  }
  return total === undefined ? claimedBody(body, { claimed: room, step }, claim) : body;
}

/**
 * The same body, that has room for each chunk claimed before it gives it.
 *
 * @param about.claimed bytes that have room already
 * @param claim sees to it that there is room for that many bytes; its failure ends the body
 */
function claimedBody(
  body: Bytes,
  about: { claimed: number; step: number },
  claim: (bytes: number) => Promise<void>,
): Bytes {
  const source = body[Symbol.asyncIterator]();
  let received = 0;
  let room = about.claimed;
  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      const result = await source.next();
      if (result.done) return { done: true, value: undefined };
      received += result.value.byteLength;
      if (received <= room) return result;
      room = received + about.step;
      try {
        await claim(room);
      } catch (error) {
        await discard({ [Symbol.asyncIterator]: () => source });
        throw error;
      }
      return result;
    },
    // Heard at once, also while the next chunk is waited for.
    async return() {
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
