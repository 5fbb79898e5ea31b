import { manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import type { Upstream } from '../upstream/upstream.ts';
import { createRetiredClients } from './retired-clients.ts';

const minute = 60_000;

test('a client is kept for whoever may still use it, and let go when it has no connection any more', async () => {
  const clock = manualClock();
  const retired = createRetiredClients(clock);
  const [idle, busy] = [{} as Upstream, {} as Upstream];
  let isConnected = true;
  retired.add(idle, () => false);
  retired.add(busy, () => isConnected);
  await clock.advance(9 * minute);
  expect([...retired.all()]).toEqual([idle, busy]);
  await clock.advance(minute);
  expect([...retired.all()]).toEqual([busy]);
  await clock.advance(60 * minute);
  isConnected = false;
  expect([...retired.all()]).toHaveLength(1);
  await clock.advance(10 * minute);
  expect([...retired.all()]).toEqual([]);
});
