import { expect, it } from 'vitest';
import { createTurns } from './turns.ts';

const MiB = 1024 * 1024;
const turn = () => new Promise((resolve) => setImmediate(resolve));

it('lets a MiB pass in each turn of the event loop, in the order in which it was asked for', async () => {
  const turns = createTurns();
  const passed: number[] = [];
  for (let i = 0; i < 10; i++) {
    const note = () => void passed.push(i);
    const wait = turns.take(MiB / 4);
    if (wait === undefined) note();
    else void wait.then(note);
  }
  expect(passed).toEqual([0, 1, 2, 3]);
  await turn();
  expect(passed).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  await turn();
  expect(passed).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

it('makes nobody wait who comes alone, however much it brings', async () => {
  const turns = createTurns();
  for (let i = 0; i < 5; i++) {
    expect(turns.take(3 * MiB)).toBeUndefined();
    await turn();
  }
});
