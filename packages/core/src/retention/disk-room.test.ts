import { gate, manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { createDiskRoom } from './disk-room.ts';
import type { WantedRoom } from './evict.ts';
import { createEvictionTurns } from './eviction-turn.ts';

const { signal } = new AbortController();

it('a blob that could never fit keeps others waiting for no longer than that takes to find, and none that is smaller from its room', async () => {
  const clock = manualClock();
  const looking = gate();
  const wanted: (number | undefined)[] = [];
  const evict = async ({ least = 0 }: WantedRoom) => {
    wanted.push(least);
    await looking.pass();
    return least > 100 ? 0 : least;
  };
  const { inTurn } = createEvictionTurns({ coordinator: undefined, clock });
  const disk = createDiskRoom({ evict, inTurn, withinMs: 10_000, clock, signal, observe: () => undefined });
  const free = (least: number) => disk.free({ bytes: 2 * least, least }, signal);
  const all = [1e12, 50, 1e13].map(free);
  await looking.reached;
  looking.open();
  expect(await Promise.all(all)).toEqual([false, true, false]);
  // It is not looked for again at once, however often it is asked for.
  expect(await free(1e12)).toBe(false);
  expect(wanted).toEqual([1e12, 50]);
  await clock.advance(5_000);
  expect(await free(1e12)).toBe(false);
  expect(wanted).toEqual([1e12, 50, 1e12]);
});
