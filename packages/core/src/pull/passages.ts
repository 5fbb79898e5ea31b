import type { Clock } from '../runtime/clock.ts';
import { createDeferred } from '../runtime/deferred.ts';
import { createSlots } from '../runtime/slots.ts';
import { connectionsForBodies } from '../upstream/connection-pool.ts';

/**
 * How many parts of blobs that are not here one upstream passes through at a time. Each holds a connection for as long as its
 * client takes to read: without a bound, some clients that stop reading would leave none for other blobs.
 */
export interface Passages {
  /**
   * Lets one through, who calls what he gets when he has left; `undefined`: none came free for a while. What clients that
   * read ask for has passed by then; whoever got none is better off with a transfer, which no client holds up.
   */
  enter(signal: AbortSignal): Promise<(() => void) | undefined>;
}

const waitMs = 2_000;

/** @param maxConnections of the upstream: half of those that blobs may use are for passages, none where that is less than one */
export function createPassages(maxConnections: number, clock: Clock): Passages {
  const most = Math.floor(connectionsForBodies(maxConnections) / 2);
  const slots = createSlots(most);
  return {
    async enter(signal) {
      if (most === 0) return undefined;
      const late = new AbortController();
      const cancel = clock.after(waitMs, () => late.abort());
      const entered = createDeferred<() => void>();
      const passing = () => new Promise<void>((left) => entered.resolve(left));
      slots.run(passing, AbortSignal.any([signal, late.signal])).catch(entered.reject);
      try {
        return await entered.promise;
      } catch {
        signal.throwIfAborted();
        return undefined;
      } finally {
        cancel();
      }
    },
  };
}
