import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ByteRange, type RangeSpec, satisfiableRanges } from './byte-range.ts';

describe('satisfiableRanges', () => {
  it.each<[string, RangeSpec, ByteRange[]]>([
    ['a first and a last byte', { from: 500, to: 1499 }, [{ from: 500, to: 1499 }]],
    ['everything from a byte on', { from: 500 }, [{ from: 500, to: 2047 }]],
    ['the last bytes', { last: 500 }, [{ from: 1548, to: 2047 }]],
    ['an end past the content', { from: 2000, to: 5000 }, [{ from: 2000, to: 2047 }]],
    ['more last bytes than there are', { last: 5000 }, [{ from: 0, to: 2047 }]],
    ['an end before the start', { from: 500, to: 0 }, []],
    ['a start past the content', { from: 2048 }, []],
    ['the last no bytes', { last: 0 }, []],
  ])('clamps %s to 2048 bytes', (_, spec, expected) => {
    expect(satisfiableRanges([spec], 2048)).toEqual(expected);
  });

  it('satisfies nothing of empty content', () => {
    expect(satisfiableRanges([{ from: 0 }, { last: 1 }], 0)).toEqual([]);
  });

  it('keeps parts that touch apart, because clients count them', () => {
    const touching = [
      { from: 78, to: 187 },
      { from: 188, to: 327 },
    ];
    expect(satisfiableRanges(touching, 1000)).toEqual(touching);
  });

  it('joins parts that overlap in the place of the first', () => {
    const specs = [
      { from: 50, to: 60 },
      { from: 0, to: 10 },
      { from: 90, to: 99 },
      { from: 5, to: 55 },
    ];
    expect(satisfiableRanges(specs, 100)).toEqual([
      { from: 0, to: 60 },
      { from: 90, to: 99 },
    ]);
  });

  it('asks for each wanted byte exactly once and for no other, whatever is asked', () => {
    const position = fc.nat({ max: 80 });
    const spec = fc.oneof(
      fc.record({ from: position }),
      fc.record({ from: position, to: position }),
      fc.record({ last: position }),
    );
    fc.assert(
      fc.property(fc.array(spec, { maxLength: 12 }), fc.nat({ max: 64 }), (specs: RangeSpec[], size) => {
        const wanted = Array.from({ length: size }, (_, i) =>
          specs.some((s) => ('last' in s ? i >= size - s.last : i >= s.from && i <= (s.to ?? i))),
        );
        const given = new Array<number>(size).fill(0);
        for (const range of satisfiableRanges(specs, size)) {
          for (let i = range.from; i <= range.to; i++) given[i]!++;
        }
        expect(given).toEqual(wanted.map(Number));
      }),
    );
  });
});
