import { expect, test } from 'vitest';
import { createKeyedTurns, createTurns } from './turns.ts';

const { signal } = new AbortController();

/** Work that ends when it is told to. */
function pieces() {
  const ends: (() => void)[] = [];
  let running = 0;
  let most = 0;
  const work = async () => {
    running++;
    most = Math.max(most, running);
    await new Promise<void>((resolve) => ends.push(resolve));
    running--;
  };
  return { work, ends, most: () => most };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('no more run at a time than may, and all run', async () => {
  const turns = createTurns(2);
  const { work, ends, most } = pieces();
  const all = Array.from({ length: 5 }, () => turns(signal, work));
  for (let ended = 0; ended < 5; ended++) {
    await turn();
    ends[ended]?.();
  }
  await Promise.all(all);
  expect(most()).toBe(2);
});

test('who leaves while waiting takes nobody else along, and work that fails makes way', async () => {
  const turns = createTurns(1);
  const controller = new AbortController();
  const { work, ends } = pieces();
  const first = turns(signal, work);
  const second = turns(controller.signal, work);
  const third = turns(signal, () => Promise.reject(new Error('failed')));
  const fourth = turns(signal, async () => 'done');
  controller.abort(new Error('left'));
  await expect(second).rejects.toThrow('left');
  await turn();
  ends[0]?.();
  await first;
  await expect(third).rejects.toThrow('failed');
  expect(await fourth).toBe('done');
  expect(ends).toHaveLength(1);
});

test('work of different keys does not wait for one another', async () => {
  const turns = createKeyedTurns();
  const { work, ends } = pieces();
  const one = turns('a', signal, work);
  const same = turns('a', signal, async () => 'second');
  expect(await turns('b', signal, async () => 'other')).toBe('other');
  await turn();
  ends[0]?.();
  await one;
  expect(await same).toBe('second');
});
