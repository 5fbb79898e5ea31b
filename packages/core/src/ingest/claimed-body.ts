import type { Bytes } from '../runtime/bytes.ts';

/** How much room is claimed at a time for a body whose size nobody told. */
export const claimStep: number = 64 * 1024 * 1024;

/**
 * The same body, that has room for each chunk claimed before it gives it.
 *
 * @param claimed bytes that have room already
 * @param claim sees to it that there is room for that many bytes; its failure ends the body
 */
export async function* claimedBody(
  body: Bytes,
  claimed: number,
  claim: (bytes: number) => Promise<void>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let received = 0;
  let room = claimed;
  for await (const chunk of body) {
    received += chunk.byteLength;
    if (received > room) {
      room = received + claimStep;
      await claim(room);
    }
    yield chunk;
  }
}
