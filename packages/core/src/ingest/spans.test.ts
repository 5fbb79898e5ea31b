import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { createSpans, gapsOf, type Span } from './spans.ts';

const span = fc
  .record({ from: fc.nat(60), length: fc.nat(20) })
  .map(({ from, length }): Span => ({ from, end: from + length }));

const bytesIn = (spans: Iterable<Span>) => {
  const bytes = new Set<number>();
  for (const { from, end } of spans) for (let byte = from; byte < end; byte++) bytes.add(byte);
  return bytes;
};

describe('spans', () => {
  it('are the bytes of all that were added, in order, and apart from one another', () => {
    fc.assert(
      fc.property(fc.array(span), fc.nat(80), (added, cutAt) => {
        const spans = createSpans();
        for (const one of added) spans.add(one);
        const bytes = bytesIn(added);
        expect(bytesIn(spans.list())).toEqual(bytes);
        expect(spans.size).toBe(bytes.size);
        spans.list().forEach(({ from }, index) => {
          expect(from).toBeGreaterThan(spans.list()[index - 1]?.end ?? -1);
        });
        for (let position = 0; position < 85; position++) {
          let end = position;
          while (bytes.has(end)) end++;
          expect(spans.endFrom(position)).toBe(end);
        }
        spans.cut(cutAt);
        expect(bytesIn(spans.list())).toEqual(new Set([...bytes].filter((byte) => byte >= cutAt)));
        expect(spans.size).toBe(bytesIn(spans.list()).size);
      }),
    );
  });

  test('leave gaps: what of a whole is in none of them', () => {
    fc.assert(
      fc.property(fc.array(span), span, (taken, within) => {
        const bytes = bytesIn(taken);
        const gaps = gapsOf(taken, within);
        expect(bytesIn(gaps)).toEqual(new Set([...bytesIn([within])].filter((byte) => !bytes.has(byte))));
        gaps.forEach(({ from, end }, index) => {
          expect(end).toBeGreaterThan(from);
          expect(from).toBeGreaterThanOrEqual(gaps[index - 1]?.end ?? 0);
        });
      }),
    );
  });
});
