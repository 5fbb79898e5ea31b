import { describe, expect, test } from 'vitest';
import { chunkGate, gate } from './gate.ts';

const settled = async (promise: Promise<unknown>) => {
  let done = false;
  const mark = () => {
    done = true;
  };
  promise.then(mark, mark);
  await new Promise((resolve) => setImmediate(resolve));
  return done;
};

describe('gate', () => {
  test('holds those who arrive until it is opened, and none after that', async () => {
    const held = gate();
    const first = held.pass();
    await held.reached;
    expect(await settled(first)).toBe(false);
    held.open();
    await Promise.all([first, held.pass()]);
    expect(held.arrivals).toBe(2);
  });

  test('tells when a number of them have arrived', async () => {
    const held = gate();
    const two = held.reachedBy(2);
    void held.pass();
    expect(await settled(two)).toBe(false);
    void held.pass();
    await two;
  });

  test('lets go with the reason of a signal', async () => {
    const controller = new AbortController();
    const passing = gate().pass(controller.signal);
    controller.abort(new Error('left'));
    await expect(passing).rejects.toThrow('left');
  });
});

describe('chunkGate', () => {
  test('lets as many pass as were allowed, in order, and all once it is open', async () => {
    const chunks = chunkGate(10);
    const first = chunks.pass();
    const second = chunks.pass();
    chunks.allow();
    await first;
    expect(await settled(second)).toBe(false);
    chunks.open();
    await Promise.all([second, chunks.pass()]);
  });

  test('keeps the leave of one who has left for the next', async () => {
    const chunks = chunkGate(10);
    const controller = new AbortController();
    const left = chunks.pass(controller.signal);
    controller.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    chunks.allow();
    await chunks.pass();
  });
});
