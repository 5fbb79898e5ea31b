import { expect, test } from 'vitest';
import { allEnded } from './all-ended.ts';
import { createDeferred } from './deferred.ts';
import { createSlots } from './slots.ts';

const { signal } = new AbortController();

test('so many run at a time, in the order in which they came', async () => {
  const slots = createSlots(2);
  const begun: number[] = [];
  const works = [0, 1, 2, 3].map(() => createDeferred<void>());
  const runs = works.map((work, at) =>
    slots.run(async () => {
      begun.push(at);
      await work.promise;
      return at;
    }, signal),
  );
  await expect.poll(() => begun).toEqual([0, 1]);
  works[1]?.resolve();
  await expect.poll(() => begun).toEqual([0, 1, 2]);
  for (const work of works) work.resolve();
  expect(await Promise.all(runs)).toEqual([0, 1, 2, 3]);
});

test('who gives up waiting leaves the turn to the next, and what fails does as well', async () => {
  const slots = createSlots(1);
  const first = createDeferred<void>();
  const failing = slots.run(() => first.promise, signal);
  const stop = new AbortController();
  const left = slots.run(async () => 'left', stop.signal);
  const next = slots.run(async () => 'next', signal);
  stop.abort(new Error('enough'));
  await expect(left).rejects.toThrow('enough');
  first.reject(new Error('failed'));
  await expect(failing).rejects.toThrow('failed');
  expect(await next).toBe('next');
});

test('all have ended before the failure of one is told', async () => {
  const slow = createDeferred<void>();
  let told = false;
  const all = allEnded([Promise.reject(new Error('first')), slow.promise]).finally(() => {
    told = true;
  });
  all.catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toBe(false);
  slow.resolve();
  await expect(all).rejects.toThrow('first');
});
