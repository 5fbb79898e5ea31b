import { expect, test } from 'vitest';
import { createTally } from './tally.ts';

test('a tally that nothing bounds is bounded all the same', () => {
  const tally = createTally(['one', 'two']);
  for (let i = 0; i < 5_000; i++) tally.add([String(i), 'x']);
  expect(tally.series()).toHaveLength(2_001);
  expect(tally.series().find(({ labels }) => labels['one'] === 'other')?.value).toBe(3_000);
});

test('what is forgotten by its first label is gone, and what is more than the bound is not', () => {
  const tally = createTally(['upstream', 'kind']);
  for (const values of [
    ['one', 'x'],
    ['two', 'x'],
    ['other', 'x'],
    ['other', 'other'],
  ])
    tally.add(values);
  tally.forget(new Set(['one', 'other']));
  expect(tally.series().map(({ labels }) => labels)).toEqual([
    { upstream: 'two', kind: 'x' },
    { upstream: 'other', kind: 'other' },
  ]);
});
