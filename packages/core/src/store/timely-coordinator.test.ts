import { manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import type { Coordinator, Lease } from './coordinator.ts';
import type { StoreEvent } from './events.ts';
import { timelyCoordinator } from './timely-coordinator.ts';

it('said again that the coordinator fails with each lease that was given back meanwhile', async () => {
  let isAway = false;
  const answer = async <T>(value: T) => {
    if (isAway) throw new Error('away');
    return value;
  };
  const lease: Lease = { token: 1, lost: new AbortController().signal, release: async () => undefined };
  const coordinator: Coordinator = {
    acquire: () => answer(lease),
    holder: () => answer('another'),
    publish: () => answer(undefined),
    subscribe: () => () => undefined,
  };
  const events: StoreEvent[] = [];
  const timely = timelyCoordinator(coordinator, { clock: manualClock(), observe: (event) => events.push(event) });
  const { signal } = new AbortController();
  const leases = [await timely.acquire('a', { for: 1_000, signal }), await timely.acquire('b', { for: 1_000, signal })];
  isAway = true;
  for (const held of leases) {
    await expect(timely.holder('a')).rejects.toThrow('away');
    await held?.release();
  }
  await expect(timely.holder('a')).rejects.toThrow('away');
  expect(events).toEqual([{ type: 'coordinator-failed', operation: 'holder', error: expect.stringContaining('away') }]);
  isAway = false;
  await timely.holder('a');
  isAway = true;
  await expect(timely.holder('a')).rejects.toThrow('away');
  expect(events).toHaveLength(2);
});
