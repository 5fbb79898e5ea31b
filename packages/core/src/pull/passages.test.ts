import { manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { createPassages } from './passages.ts';

const { signal } = new AbortController();

it('lets half as many through as there are connections for blobs, and the next when one has left', async () => {
  const clock = manualClock();
  const passages = createPassages(8, clock);
  const [first] = await Promise.all([1, 2, 3].map(() => passages.enter(signal)));
  const fourth = passages.enter(signal);
  const fifth = passages.enter(signal);
  first?.();
  expect(await fourth).toBeTypeOf('function');
  await clock.advance(2_000);
  expect(await fifth).toBeUndefined();
  expect(clock.pending()).toBe(0);
});

it('lets one through again when who waited has given up', async () => {
  const clock = manualClock();
  const passages = createPassages(4, clock);
  const leave = await passages.enter(signal);
  const late = passages.enter(signal);
  const left = new AbortController();
  const gone = passages.enter(left.signal);
  left.abort(new Error('left'));
  await expect(gone).rejects.toThrow('left');
  await clock.advance(2_000);
  expect(await late).toBeUndefined();
  leave?.();
  expect(await passages.enter(signal)).toBeTypeOf('function');
});

it('lets none through where blobs have one connection: a transfer needs it', async () => {
  expect(await createPassages(1, manualClock()).enter(signal)).toBeUndefined();
});
