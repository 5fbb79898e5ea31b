import { manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { pause } from './pause.ts';

it('lasts as long as it was told to, by the clock', async () => {
  const clock = manualClock();
  let over = false;
  const paused = pause(100, clock, new AbortController().signal).then(() => {
    over = true;
  });
  await clock.advance(99);
  expect(over).toBe(false);
  await clock.advance(1);
  await paused;
  expect(clock.pending()).toBe(0);
});

it('is none where nothing is to be waited for', async () => {
  const clock = manualClock();
  await pause(0, clock, new AbortController().signal);
  expect(clock.pending()).toBe(0);
});

it.each([0, 100])('ends with the reason of its signal, and leaves no timer (%i ms)', async (ms) => {
  const clock = manualClock();
  const reason = new Error('left');
  const stop = new AbortController();
  if (ms === 0) stop.abort(reason);
  const paused = pause(ms, clock, stop.signal);
  stop.abort(reason);
  await expect(paused).rejects.toBe(reason);
  expect(clock.pending()).toBe(0);
});
