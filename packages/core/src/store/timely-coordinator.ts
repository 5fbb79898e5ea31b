import type { Clock } from '../runtime/clock.ts';
import type { Coordinator, Lease } from './coordinator.ts';
import type { StoreEvent } from './events.ts';
import { type CallWork, createStoreDeadline, type StoreCall } from './store-deadline.ts';

/** Long for a coordinator that answers at all, short for whoever waits for a pull. */
const withinMs = 2_000;

/**
 * The same coordinator, each call bounded in time: one that hangs fails, and is left alone for a while when it keeps
 * hanging. The observer is told once that it fails, until it answers again. To give back a lease never fails: it ends by
 * itself.
 */
export function timelyCoordinator(
  coordinator: Coordinator,
  { clock, observe }: { clock: Clock; observe(event: StoreEvent): void },
): Coordinator {
  const deadline = createStoreDeadline(clock, withinMs);
  let isAway = false;

  function failed(operation: string, error: unknown): void {
    if (isAway) return;
    isAway = true;
    const why = error instanceof Error ? error.message : String(error);
    observe({ type: 'coordinator-failed', operation, error: why });
  }

  async function run<T>(call: StoreCall<T>, work: (given: CallWork) => Promise<T>): Promise<T> {
    try {
      const value = await deadline.run(call, work);
      // To give back a lease never fails, so that it says nothing.
      if (call.operation !== 'release') isAway = false;
      return value;
    } catch (error) {
      if (!call.signal?.aborted) failed(call.operation, error);
      throw error;
    }
  }

  function timelyLease(lease: Lease): Lease {
    const release = () => run({ operation: 'release' }, () => lease.release()).catch(() => undefined);
    return { token: lease.token, lost: lease.lost, release };
  }

  return {
    async acquire(key, { signal, ...how }) {
      // Whoever asked has gone: nobody would give it back.
      const late = (lease: Lease | undefined) => void (lease && timelyLease(lease).release());
      const call = { operation: 'acquire', signal, late };
      const lease = await run(call, (given) => coordinator.acquire(key, { ...how, signal: given.signal }));
      return lease && timelyLease(lease);
    },
    holder: (key) => run({ operation: 'holder' }, () => coordinator.holder(key)),
    publish: (channel, message) => run({ operation: 'publish' }, () => coordinator.publish(channel, message)),
    subscribe(channel, fn) {
      try {
        return coordinator.subscribe(channel, fn);
      } catch (error) {
        failed('subscribe', error);
        return () => undefined;
      }
    },
  };
}
