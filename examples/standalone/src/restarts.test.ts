import { expect, test } from 'vitest';
import { createRestarts } from './restarts.ts';

/** Restarts at an instant that tests move. */
function restartsAt() {
  const at = { ms: 0 };
  return { at, restarts: createRestarts(() => at.ms) };
}

test('replaces a worker that served for long at once', () => {
  const { at, restarts } = restartsAt();
  restarts.served(1);
  at.ms = 10_000;
  expect(restarts.ended(1)).toBe(0);
});

test('waits twice as long for each that ended soon, up to ten seconds, until one is sound', () => {
  const { at, restarts } = restartsAt();
  const waits = Array.from({ length: 9 }, (_, id) => {
    restarts.served(id);
    return restarts.ended(id);
  });
  expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  restarts.served(10);
  at.ms = 10_000;
  expect(restarts.ended(10)).toBe(0);
  restarts.served(11);
  expect(restarts.ended(11)).toBe(100);
});

test('says when five in a row did not come up', () => {
  const { restarts } = restartsAt();
  for (let id = 0; id < 4; id++) expect(restarts.ended(id)).toBe(100 * 2 ** id);
  restarts.served(4);
  restarts.ended(4);
  for (let id = 5; id < 8; id++) expect(restarts.ended(id)).toBeTypeOf('number');
  // One that could not even be started.
  expect(restarts.ended(undefined)).toBeTypeOf('number');
  expect(restarts.ended(9)).toBeUndefined();
});
