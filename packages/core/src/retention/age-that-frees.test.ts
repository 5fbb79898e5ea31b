import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ageThatFrees } from './age-that-frees.ts';

const before = (usedAt: readonly number[], weights: readonly number[], limit: number) =>
  usedAt.reduce((sum, at, index) => sum + (at < limit ? (weights[index] as number) : 0), 0);

it('is the least instant before which enough was last used, for any ages and weights', () => {
  const things = fc.array(fc.tuple(fc.integer({ min: 0, max: 1e12 }), fc.nat(1_000)), { minLength: 1 });
  fc.assert(
    fc.property(things, fc.integer({ min: 1, max: 50_000 }), (all, wanted) => {
      const [usedAt, weights] = [all.map(([at]) => at), all.map(([, weight]) => weight)];
      const limit = ageThatFrees(usedAt, weights, wanted) as number;
      const total = before(usedAt, weights, Number.POSITIVE_INFINITY);
      expect(before(usedAt, weights, limit)).toBeGreaterThanOrEqual(Math.min(wanted, total));
      if (total >= wanted) expect(before(usedAt, weights, limit - 1)).toBeLessThan(wanted);
    }),
  );
});

it('is none where nothing is there, or nothing is wanted', () => {
  expect(ageThatFrees([], [], 5)).toBeUndefined();
  expect(ageThatFrees([1], [5], 0)).toBeUndefined();
});
