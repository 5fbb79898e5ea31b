import { manualClock } from '@proxycache/test-kit';
import { expect, it, vi } from 'vitest';

import { createLateRelease } from './late-release.ts';

function made() {
  const clock = manualClock();
  const letGo = vi.fn();
  return { clock, letGo, release: createLateRelease(letGo, clock) };
}

it('lets go at once where nobody reads', () => {
  const { letGo, release } = made();
  release.begin(0);
  expect(letGo).toHaveBeenCalledTimes(1);
  release.left(0);
  expect(letGo).toHaveBeenCalledTimes(1);
});

it('lets go when the last reader has left, and not again later', async () => {
  const { clock, letGo, release } = made();
  release.begin(2);
  release.left(1);
  expect(letGo).not.toHaveBeenCalled();
  release.left(0);
  expect(letGo).toHaveBeenCalledTimes(1);
  await clock.advance(1_000);
  expect(letGo).toHaveBeenCalledTimes(1);
});

it('waits for a slow reader no longer than a quarter of a second', async () => {
  const { clock, letGo, release } = made();
  release.begin(1);
  await clock.advance(249);
  expect(letGo).not.toHaveBeenCalled();
  await clock.advance(1);
  expect(letGo).toHaveBeenCalledTimes(1);
  release.left(0);
  expect(letGo).toHaveBeenCalledTimes(1);
});

it('does nothing while it has not begun', () => {
  const { letGo, release } = made();
  release.left(0);
  expect(letGo).not.toHaveBeenCalled();
});
