import { expect, it } from 'vitest';
import { keepStep } from './keeping-step.ts';
import { createTurns } from './turns.ts';

const MiB = 1024 * 1024;

/** Readers so many MiB behind a transfer that keeps 4 MiB in memory, and how many turns it leaves before its own. */
async function turnsLeft(lags: number[], afterTurn: (lags: number[]) => void = () => undefined): Promise<number> {
  let taken = 0;
  await keepStep(MiB, 100 * MiB, {
    turns: {
      take() {
        taken++;
        afterTurn(lags);
        return undefined;
      },
    },
    positions: new Set(lags.map((_, i) => () => (100 - lags[i]!) * MiB)),
    waiting: () => lags.length,
    inMemory: () => 4 * MiB,
  });
  return taken;
}

it('takes its turn like any reader while most of them keep step, or nobody reads', async () => {
  expect(await turnsLeft([])).toBe(1);
  expect(await turnsLeft([0, 1, 2])).toBe(1);
  expect(await turnsLeft([0, 1, 3, 3])).toBe(1);
});

it('leaves some turns to its readers where most of them are about to lose step, and no more than that', async () => {
  expect(await turnsLeft([0, 3, 3])).toBe(4);
  expect(await turnsLeft([3, 8, 0])).toBe(4);
  const catchUp = (lags: number[]) => void lags.splice(0, lags.length, ...lags.map((lag) => lag - 0.5));
  expect(await turnsLeft([3, 3, 3], catchUp)).toBe(2);
});

it('does not regard those who joined late, or lost step for good', async () => {
  expect(await turnsLeft([0, 100, 100, 100, 17])).toBe(1);
  expect(await turnsLeft([100, 100])).toBe(1);
});

it('waits for no reader that takes no turn, such as one with a slow client', async () => {
  const positions = new Set(Array.from({ length: 50 }, () => () => 0));
  let isNextTurn = false;
  setImmediate(() => {
    isNextTurn = true;
  });
  const turns = createTurns();
  await keepStep(MiB / 2, 3 * MiB, { turns, positions, waiting: () => 0, inMemory: () => 4 * MiB });
  expect(isNextTurn).toBe(false);
});

it('was held up by a slow client of its own while another transfer kept the turns busy', async () => {
  const turns = createTurns();
  let others = 0;
  let isOver = false;
  const busy = (async () => {
    for (; !isOver; others++) await turns.take(MiB);
  })();
  const readers = { turns, positions: new Set([() => 0]), waiting: () => 0, inMemory: () => 4 * MiB };
  await keepStep(MiB / 4, 3 * MiB, readers);
  isOver = true;
  await busy;
  expect(others).toBeLessThanOrEqual(3);
});
