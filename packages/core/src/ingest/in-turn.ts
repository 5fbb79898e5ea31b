import type { Bytes } from '../runtime/bytes.ts';
import type { Standing } from './precedence.ts';
import type { FetchFrom } from './steady-body.ts';

/** What is small is over before it could be in anybody's way, and small blobs are what asking ahead gains most for. */
export const freeBytes: number = 1024 * 1024;

/**
 * The same way to ask, whose bodies are taken only while no client's transfer needs the upstream, but for what the buffers
 * of sockets hold: the link is left to who waits for something.
 */
export function inTurn(fetch: FetchFrom, standing: Standing): FetchFrom {
  let taken = 0;
  return async (from, signal, ifMatch) => {
    const reply = await fetch(from, signal, ifMatch);
    if (reply.kind !== 'found' || !standing.isSpare()) return reply;
    return { kind: 'found', value: { ...reply.value, body: paced(reply.value.body, signal) } };
  };

  function paced(body: Bytes, signal: AbortSignal): Bytes {
    const source = body[Symbol.asyncIterator]();
    const left = new AbortController();
    const iterator: AsyncIterator<Uint8Array, undefined> = {
      async next() {
        if (taken >= freeBytes && standing.mustWait()) {
          await standing.turn(AbortSignal.any([signal, left.signal])).catch((error: unknown) => {
            if (!left.signal.aborted) throw error;
          });
        }
        const result = await source.next();
        if (result.done) return { done: true, value: undefined };
        taken += result.value.byteLength;
        return result;
      },
      async return() {
        left.abort();
        await source.return?.();
        return { done: true, value: undefined };
      },
    };
    return { [Symbol.asyncIterator]: () => iterator };
  }
}
