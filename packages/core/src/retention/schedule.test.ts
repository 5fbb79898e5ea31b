import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, expect, it } from 'vitest';
import type { Duration } from '../runtime/duration.ts';
import { createMemoryMetadata } from '../store/memory-metadata.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { createSchedule } from './schedule.ts';

const minute = 60_000;
const hour = 60 * minute;
let clock: ManualClock;
let metadata: MetadataStore;
let sweptAt: number[];
let leftToOthers: number;

beforeEach(() => {
  clock = manualClock({ now: 0 });
  metadata = createMemoryMetadata(clock);
  sweptAt = [];
  leftToOthers = 0;
});

function start(every: Duration | false, elsewhere = false): { close(): void } {
  const sweep = async () => {
    sweptAt.push(clock.now());
    return { elsewhere };
  };
  return createSchedule({
    metadata,
    observe: () => undefined,
    clock,
    every,
    sweep,
    sweptElsewhere: () => void leftToOthers++,
  });
}

async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += minute) await clock.advance(minute);
}

it('sweeps once the cache was up for a while, then about as often as it is told to', async () => {
  const { close } = start('1h');
  await pass(11 * minute);
  expect(sweptAt).toEqual([]);
  await pass(24 * hour);
  expect(sweptAt[0]).toBeLessThanOrEqual(18 * minute);
  const waits = sweptAt.slice(1).map((at, index) => at - (sweptAt[index] as number));
  expect(waits.length).toBeGreaterThan(18);
  for (const wait of waits) {
    expect(wait).toBeGreaterThanOrEqual(0.8 * hour);
    expect(wait).toBeLessThanOrEqual(1.2 * hour + minute);
  }
  expect(new Set(waits.map((wait) => Math.round(wait / minute))).size).toBeGreaterThan(3);
  close();
  const before = sweptAt.length;
  await pass(3 * hour);
  expect(sweptAt.length).toBe(before);
});

it('of several processes with the same records only some sweep', async () => {
  for (let process = 0; process < 8; process++) start('1h');
  await pass(10 * hour);
  expect(sweptAt.length).toBeLessThan(25);
  expect(sweptAt.length).toBeGreaterThan(8);
  expect(leftToOthers).toBeGreaterThan(40);
});

it('does not count what another process is at', async () => {
  start('1h', true);
  await pass(4 * hour);
  expect(sweptAt.length).toBeGreaterThan(2);
});

it('goes on after a sweep that failed, and never sweeps where it is not to', async () => {
  start(false);
  let times = 0;
  const sweep = () => Promise.reject(new Error(`failed ${++times}`));
  createSchedule({ metadata, observe: () => undefined, clock, every: '1h', sweep, sweptElsewhere: () => undefined });
  await pass(5 * hour);
  expect(times).toBeGreaterThan(3);
  expect(sweptAt).toEqual([]);
});
