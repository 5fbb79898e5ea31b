import { discard } from '../runtime/bytes.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';

/**
 * Asks an upstream for a blob while a place for it is being made: the disk's time and the upstream's pass together.
 *
 * @param made rejects where there is no place: then nobody wants the answer, which is given up, or closed where it came
 * @param how.atOnce `false`: there may well be no place, so nobody is asked before it is made
 * @param how.signal ends the question, and the body
 * @throws what `made` or `ask` rejects with
 */
export async function askedBeside(
  made: Promise<unknown>,
  ask: (signal: AbortSignal) => Promise<Reply<FetchedBlob>>,
  { atOnce, signal }: { atOnce: boolean; signal: AbortSignal },
): Promise<Reply<FetchedBlob>> {
  if (!atOnce) {
    await made;
    return await ask(signal);
  }
  const unplaced = new AbortController();
  const asked = ask(AbortSignal.any([signal, unplaced.signal]));
  // It is waited for below, or by nobody.
  asked.catch(() => undefined);
  try {
    await made;
  } catch (error) {
    unplaced.abort(error);
    void asked.then(drop, () => undefined);
    throw error;
  }
  return await asked;
}

async function drop(reply: Reply<FetchedBlob>): Promise<void> {
  if (reply.kind === 'found') await discard(reply.value.body);
}
