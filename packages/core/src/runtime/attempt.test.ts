import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { attempt } from './attempt.ts';

/** What nobody took care of while `work` ran. */
async function unhandledIn(work: () => void): Promise<unknown[]> {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => void unhandled.push(reason);
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection').on('unhandledRejection', note);
  try {
    work();
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    return unhandled;
  } finally {
    process.off('unhandledRejection', note);
    for (const other of others) process.on('unhandledRejection', other);
  }
}

const trouble = new Error('its own trouble');

it('drops what is thrown', async () => {
  const work = () => {
    throw trouble;
  };
  expect(await unhandledIn(() => attempt(work))).toEqual([]);
});

it.each([
  ['a promise', () => Promise.reject(trouble)],
  ['a promise of another realm', () => runInNewContext('Promise.reject(new Error("its own trouble"))')],
  [
    'what is like a promise',
    () => Object.fromEntries([['then', (_: unknown, reject: (cause: unknown) => void) => reject(trouble)]]),
  ],
])('drops what is rejected later, by %s', async (_, work) => {
  expect(await unhandledIn(() => attempt(work))).toEqual([]);
});

it('does the work at once, and waits for nothing', () => {
  const order: string[] = [];
  attempt(async () => {
    order.push('begun');
    await new Promise(() => undefined);
  });
  order.push('back');
  expect(order).toEqual(['begun', 'back']);
});
