import { manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { createDeferred } from './deferred.ts';
import { orLate } from './or-late.ts';

it('gives what comes in time, and leaves no timer', async () => {
  const clock = manualClock();
  expect(await orLate(Promise.resolve('here'), { clock, ms: 10, late: () => 'late' })).toBe('here');
  await expect(orLate(Promise.reject(new Error('broken')), { clock, ms: 10, late: () => 'late' })).rejects.toThrow(
    'broken',
  );
  await clock.advance(0);
  expect(clock.pending()).toBe(0);
});

it('gives what late makes of it after the time, and lets the work go on to whatever end', async () => {
  const clock = manualClock();
  const work = createDeferred<string>();
  const answer = orLate(work.promise, { clock, ms: 10, late: async () => 'late' });
  await clock.advance(10);
  expect(await answer).toBe('late');
  work.reject(new Error('nobody waits for this'));
  await clock.advance(0);
});
