import { manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { createQuota, type QuotaReading } from './quota.ts';

const hub = (remaining: number) => ({
  'ratelimit-limit': '100;w=21600',
  'ratelimit-remaining': `${remaining};w=21600`,
});

function make(reserve = 0.1) {
  const clock = manualClock();
  const told: (QuotaReading & { low: boolean })[] = [];
  return { clock, told, quota: createQuota({ clock, reserve, changed: (state) => told.push(state) }) };
}

test('less than the reserve is low, as much is not', () => {
  const { quota } = make();
  quota.note('-', hub(10));
  expect(quota.isLow('-')).toBe(false);
  quota.note('-', hub(9));
  expect(quota.isLow('-')).toBe(true);
  expect(quota.reading('-')).toEqual({ limit: 100, remaining: 9, windowMs: 21_600_000 });
});

test('each credential has a quota of its own', () => {
  const { quota } = make();
  quota.note('one', hub(0));
  expect([quota.isLow('one'), quota.isLow('other')]).toEqual([true, false]);
});

test('a change of state is told once, each way', () => {
  const { quota, told } = make();
  for (const left of [50, 9, 8, 0, 12, 60]) quota.note('-', hub(left));
  expect(told.map(({ low, remaining }) => [low, remaining])).toEqual([
    [true, 9],
    [false, 12],
  ]);
});

test('a reading ends with its window, as nobody may say otherwise: then what is low has recovered', async () => {
  const { quota, told, clock } = make();
  quota.note('-', hub(0));
  await clock.advance(21_600_000 - 1);
  expect(quota.isLow('-')).toBe(true);
  await clock.advance(1);
  expect([quota.isLow('-'), quota.reading('-')]).toEqual([false, undefined]);
  expect(told.map(({ low }) => low)).toEqual([true, false]);
});

test.each<[string, Record<string, string>]>([
  ['no headers', {}],
  ['one of the two', { 'ratelimit-limit': '100;w=21600' }],
  ['a limit of nothing', { 'ratelimit-limit': '0;w=21600', 'ratelimit-remaining': '0;w=21600' }],
  ['no numbers', { 'ratelimit-limit': 'many', 'ratelimit-remaining': '-1' }],
  ['a number without an end', { 'ratelimit-limit': '9'.repeat(4_000), 'ratelimit-remaining': '1' }],
])('%s say nothing', (_, headers) => {
  const { quota } = make();
  quota.note('-', headers);
  expect(quota.reading('-')).toBeUndefined();
});

test('a window that is not told is short, one that is absurd is a day', () => {
  const { quota } = make();
  quota.note('-', { 'ratelimit-limit': '10', 'ratelimit-remaining': '5' });
  expect(quota.reading('-')?.windowMs).toBe(15 * 60_000);
  quota.note('-', { 'ratelimit-limit': '10;w=999999999', 'ratelimit-remaining': '5' });
  expect(quota.reading('-')?.windowMs).toBe(24 * 60 * 60_000);
});

test('a reserve of 0 spares nothing', () => {
  const { quota } = make(0);
  quota.note('-', hub(0));
  expect(quota.isLow('-')).toBe(false);
});
