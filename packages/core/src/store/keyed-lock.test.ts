import { gate } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { createKeyedLock } from './keyed-lock.ts';

const { signal } = new AbortController();

test('runs work of one key one after the other, in the order it came', async () => {
  const lock = createKeyedLock();
  const held = gate();
  const done: string[] = [];
  const first = lock('key', signal, async () => {
    await held.pass();
    done.push('first');
  });
  const second = lock('key', signal, async () => done.push('second'));
  await lock('other', signal, async () => done.push('other'));
  expect(done).toEqual(['other']);
  held.open();
  await Promise.all([first, second]);
  expect(done).toEqual(['other', 'first', 'second']);
});

test('gives the outcome of the work, and goes on after a failure', async () => {
  const lock = createKeyedLock();
  const failed = lock('key', signal, () => Promise.reject(new Error('broken')));
  const next = lock('key', signal, async () => 'done');
  await expect(failed).rejects.toThrow('broken');
  expect(await next).toBe('done');
});

test('lets whoever waits leave at once, and never starts its work', async () => {
  const lock = createKeyedLock();
  const held = gate();
  const first = lock('key', signal, () => held.pass());
  const controller = new AbortController();
  let started = false;
  const second = lock('key', controller.signal, async () => {
    started = true;
  });
  controller.abort(new Error('left'));
  await expect(second).rejects.toThrow('left');
  held.open();
  await first;
  await lock('key', signal, async () => undefined);
  expect(started).toBe(false);
});

test('starts nothing for whoever has left before', async () => {
  const work = async () => 'started';
  await expect(createKeyedLock()('key', AbortSignal.abort('left'), work)).rejects.toBe('left');
});
