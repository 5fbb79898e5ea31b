import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { heldWholeBytes, releasable } from './hold-back.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

describe('18: what may leave of a blob that is not verified yet', () => {
  it.each([
    // received, total, may leave
    [0, 0, 0],
    [1, 1, 0],
    [MiB, MiB, 0],
    [MiB, undefined, 0],
    [MiB - 1, 2 * MiB, MiB - 1],
    [MiB + 1, MiB + 1, MiB + 1 - 64 * KiB],
    [64 * KiB, 2 * MiB, 64 * KiB],
    [2 * MiB, 2 * MiB, 2 * MiB - 64 * KiB],
    [3 * MiB, 2 * MiB, 2 * MiB - 64 * KiB],
    [MiB + 1, undefined, MiB + 1 - 64 * KiB],
  ])('of %i bytes received of %s: %i', (received, total, expected) => {
    expect(releasable(received, total)).toBe(expected);
  });

  it('is never the end, and never less than it was', () => {
    const sizes = fc.nat({ max: 4 * MiB });
    fc.assert(
      fc.property(sizes, sizes, fc.option(sizes, { nil: undefined }), (a, b, total) => {
        const [less, more] = [Math.min(a, b), Math.max(a, b)];
        expect(releasable(more, total)).toBeGreaterThanOrEqual(releasable(less, total));
        expect(releasable(more, total)).toBeLessThan(Math.max(total ?? more, 1));
        expect(releasable(more, total)).toBeGreaterThanOrEqual(0);
        expect(releasable(more, total)).toBeLessThanOrEqual(more);
        if ((total ?? more) <= heldWholeBytes) expect(releasable(more, total)).toBe(0);
      }),
    );
  });
});
