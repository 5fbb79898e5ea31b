import { manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { createMemoryMetadata } from '../store/memory-metadata.ts';
import { markPurge, watchPurges } from './purge-mark.ts';

const minute = 60_000;

function start() {
  const clock = manualClock();
  const metadata = createMemoryMetadata(clock);
  let [asked, forgotten, isAway] = [0, 0, false];
  const get: typeof metadata.get = async (key, options) => {
    asked++;
    if (isAway) throw new Error('away');
    return await metadata.get(key, options);
  };
  const watch = watchPurges({ metadata: { ...metadata, get }, clock }, () => void forgotten++);
  return {
    clock,
    watch,
    purge: () => markPurge({ metadata, clock, observe: () => undefined }),
    away: (now: boolean) => {
      isAway = now;
    },
    counts: () => ({ asked, forgotten }),
  };
}

it('forgets once for each purge that was marked, within a minute, also one of before it began', async () => {
  const { clock, watch, purge, counts } = start();
  await purge();
  watch.begin();
  await clock.advance(minute);
  expect(counts().forgotten).toBe(1);
  await clock.advance(10 * minute);
  expect(counts().forgotten).toBe(1);
  await purge();
  await clock.advance(minute);
  expect(counts().forgotten).toBe(2);
});

it('asks nothing before it is begun, or after it was closed', async () => {
  const { clock, watch, purge, counts } = start();
  await purge();
  await clock.advance(10 * minute);
  expect(counts()).toEqual({ asked: 0, forgotten: 0 });
  watch.begin();
  watch.close();
  await clock.advance(10 * minute);
  expect([counts(), clock.pending()]).toEqual([{ asked: 0, forgotten: 0 }, 0]);
});

it('forgets nothing while the store is away, and what it missed when that is back', async () => {
  const { clock, watch, purge, away, counts } = start();
  watch.begin();
  await purge();
  away(true);
  await clock.advance(5 * minute);
  expect(counts()).toMatchObject({ asked: 6, forgotten: 0 });
  away(false);
  await clock.advance(minute);
  expect(counts().forgotten).toBe(1);
});
