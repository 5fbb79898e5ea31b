import { expect, it } from 'vitest';
import { createDeferred } from './deferred.ts';

it('is settled from outside, once', async () => {
  const deferred = createDeferred<number>();
  deferred.resolve(1);
  deferred.resolve(2);
  deferred.reject(new Error('late'));
  expect(await deferred.promise).toBe(1);
});

it('is no unhandled rejection when nobody waits, and fails whoever does', async () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.on('unhandledRejection', note);
  const deferred = createDeferred<void>();
  deferred.reject(new Error('nobody cares'));
  await new Promise((resolve) => setTimeout(resolve, 5));
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
  await expect(deferred.promise).rejects.toThrow('nobody cares');
});
