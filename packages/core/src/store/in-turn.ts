import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { pause } from '../runtime/pause.ts';
import type { Coordinator } from './coordinator.ts';

const leaseForMs = 5_000;
const againAfterMs = 50;
const waitsForMs = 8_000;

/**
 * Has one process at a time do some work, as the conditions of a store may hold within each process alone. While the
 * coordinator fails each goes by the store's conditions.
 *
 * @throws ProxyCacheError `storage-failed` where the turn does not come; what the work throws
 */
export async function inTurn<T>(
  key: string,
  work: () => Promise<T>,
  { coordinator, clock }: { coordinator: Coordinator | undefined; clock: Clock },
): Promise<T> {
  if (!coordinator) return work();
  const { signal } = new AbortController();
  const until = clock.monotonic() + waitsForMs;
  for (;;) {
    const lease = await coordinator.acquire(key, { for: leaseForMs, signal }).catch(() => 'away' as const);
    if (lease === 'away') return work();
    if (lease) return work().finally(() => lease.release());
    if (clock.monotonic() >= until) {
      throw new ProxyCacheError('storage-failed', `another process has had ${key} for more than ${waitsForMs} ms`);
    }
    await pause(againAfterMs, clock, signal);
  }
}
