import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createDeferred } from './deferred.ts';
import { createRunning } from './running.ts';

test('what runs is waited for, however it ends, and what it begins as well', async () => {
  const running = createRunning();
  const [first, second] = [createDeferred<void>(), createDeferred<void>()];
  running.add(first.promise.finally(() => running.add(second.promise)));
  let isOver = false;
  const ended = running.ended().then(() => {
    isOver = true;
  });
  first.reject(new Error('failed'));
  await setImmediate();
  expect(isOver).toBe(false);
  second.resolve();
  await ended;
  await running.ended();
});
