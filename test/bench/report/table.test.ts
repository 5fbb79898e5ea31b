import { expect, it } from 'vitest';
import type { Sample } from './samples.ts';
import { markdownTable, tableOf, times } from './table.ts';

const sample = (contestant: string, requestsPerSecond: number, p99?: number): Sample => ({
  part: 'manifests',
  cell: 'GET',
  contestant,
  values: { requestsPerSecond, ...(p99 !== undefined && { p99 }) },
});

it('a table has medians with their ends, and ratios to those that take part', () => {
  const samples = [sample('registry', 100, 20), sample('us', 5000), sample('registry', 110, 20), sample('us', 6600)];
  const shape = {
    part: 'manifests',
    metrics: ['requestsPerSecond', 'p99', 'cpu'],
    against: ['registry', 'nginx'],
  } as const;
  expect(tableOf(samples, shape)).toBe(
    [
      '|     | server   | requests/s       | x registry | p99 ms |',
      '| --- | -------- | ---------------- | ---------- | ------ |',
      '| GET | registry | 105 (100-110)    |            | 20.00  |',
      '|     | us       | 5800 (5000-6600) | 55.0       |        |',
    ].join('\n'),
  );
});

it('figures of other parts are left out', () => {
  const other: Sample = { part: 'cold', cell: 'image', contestant: 'us', values: { wall: 1 } };
  const shape = { part: 'manifests', metrics: ['requestsPerSecond'], against: [] } as const;
  expect(tableOf([other, sample('us', 1)], shape)).not.toContain('image');
});

it('a factor has about three digits', () => {
  expect([0.02345, 0.4567, 4.567, 45.67, 456.7, undefined].map(times)).toEqual([
    '0.023',
    '0.46',
    '4.57',
    '45.7',
    '457',
    '',
  ]);
});

it('a row may have fewer cells than the head', () => {
  expect(markdownTable(['a', 'b'], [['x']])).toBe('| a   | b   |\n| --- | --- |\n| x   |     |');
});
