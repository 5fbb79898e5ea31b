import type { Clock } from '../runtime/clock.ts';
import { isProxyCacheError } from '../runtime/errors.ts';
import { pause } from '../runtime/pause.ts';

// Clients have the places of transfers; they leave some within a minute or so.
const betweenTriesMs = 1_000;
const mostTries = 120;

/** Does what a transfer is needed for: where all that may run do, when one has ended. @throws as `work` does; the signal's reason */
export async function whenPlaceIsFree<T>(
  work: () => Promise<T>,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      const isCrowded = isProxyCacheError(error) && error.code === 'too-many-ingests';
      if (!isCrowded || tries >= mostTries) throw error;
      await pause(betweenTriesMs, clock, signal);
    }
  }
}
