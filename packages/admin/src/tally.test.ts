import { expect, test } from 'vitest';
import { createTally } from './tally.ts';

test('a tally that nothing bounds is bounded all the same', () => {
  const tally = createTally(['one', 'two']);
  for (let i = 0; i < 5_000; i++) tally.add([String(i), 'x']);
  expect(tally.series()).toHaveLength(2_001);
  expect(tally.series().find(({ labels }) => labels['one'] === 'other')?.value).toBe(3_000);
});
