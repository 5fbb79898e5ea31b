import { executionAsyncResource } from 'node:async_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test, vi } from 'vitest';
import { keepTickShape } from './tick-shape.ts';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** The object of the tick in which `start` has something called. */
async function tickOf<T>(start: () => T): Promise<{ tick: WeakRef<object>; started: T }> {
  const nextTick = process.nextTick;
  let tick: WeakRef<object> | undefined;
  vi.spyOn(process, 'nextTick').mockImplementationOnce((fn) => {
    nextTick(() => {
      fn();
      tick = new WeakRef(executionAsyncResource());
    });
  });
  const started = start();
  vi.restoreAllMocks();
  await new Promise((done) => setImmediate(done));
  return { tick: tick!, started };
}

async function isLeft({ tick }: { tick: WeakRef<object> }): Promise<boolean> {
  // A WeakRef that was read is held until the end of the turn.
  await new Promise((done) => setImmediate(done));
  collectGarbage();
  return tick.deref() !== undefined;
}

describe('keepTickShape', () => {
  test('keeps the object of a tick until it is closed', async () => {
    const kept = await tickOf(keepTickShape);
    expect(await isLeft(kept)).toBe(true);
    kept.started.close();
    expect(await isLeft(kept)).toBe(false);
  });

  test('keeps none that comes after it was closed', async () => {
    const kept = await tickOf(() => keepTickShape().close());
    expect(await isLeft(kept)).toBe(false);
  });
});
