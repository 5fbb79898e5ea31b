import { describe, expect, it } from 'vitest';
import { geometricMean, median, quantile, ratio, spread } from './statistics.ts';

describe('the median', () => {
  it.each([
    [[3], 3],
    [[3, 1, 2], 2],
    [[4, 1, 2, 3], 2.5],
    [[10, 9, 1, 1, 1], 1],
  ])('of %j is %d', (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  it('of nothing is refused', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('a quantile', () => {
  it('is the least value that so many are not above', () => {
    const values = Array.from({ length: 1000 }, (_, index) => 1000 - index);
    expect([0, 0.5, 0.99, 1].map((share) => quantile(values, share))).toEqual([1, 500, 990, 1000]);
  });
});

it('a spread has the middle and both ends', () => {
  expect(spread([5, 1, 2])).toEqual({ median: 2, min: 1, max: 5 });
});

describe('a ratio', () => {
  it('is the median of the ratios of each round, so that a bad round counts for both', () => {
    expect(ratio([20, 2, 30], [10, 1, 10])).toBe(2);
  });

  it('is of the rounds that both have', () => {
    expect(ratio([20, 40], [10])).toBe(2);
  });

  it('to nothing, or to zero, is none', () => {
    expect([ratio([1], []), ratio([1], [0])]).toEqual([undefined, undefined]);
  });
});

it('the geometric mean of a half and a double is one', () => {
  expect(geometricMean([0.5, 2])).toBeCloseTo(1);
});
