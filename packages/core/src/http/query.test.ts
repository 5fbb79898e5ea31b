import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { queryValue } from './query.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** Characters that `indexOf` looked at while something ran. */
function lookedAt(run: () => void): number {
  const { indexOf } = String.prototype;
  let looked = 0;
  const spy = vi.spyOn(String.prototype, 'indexOf').mockImplementation(function (this: string, text, from = 0) {
    const found = indexOf.call(this, text, from);
    looked += (found < 0 ? this.length : found + 1) - from;
    return found;
  });
  run();
  spy.mockRestore();
  return looked;
}

describe('queryValue', () => {
  it.each<[string, object]>([
    ['', { kind: 'none' }],
    ['n', { kind: 'one', value: '' }],
    ['n=', { kind: 'one', value: '' }],
    ['n=1', { kind: 'one', value: '1' }],
    ['a=b=c&n=x=y&d', { kind: 'one', value: 'x=y' }],
    ['a&n=1', { kind: 'one', value: '1' }],
    ['n&a=1', { kind: 'one', value: '' }],
    ['%6e=%31', { kind: 'one', value: '1' }],
    ['n=1&%6E=1', { kind: 'repeated' }],
    ['n=%zz', { kind: 'broken' }],
    ['%zz=1', { kind: 'none' }],
    ['nn=1', { kind: 'none' }],
  ])('finds n in %s', (query, expected) => {
    expect(queryValue(query, 'n')).toEqual(expected);
  });

  it('says what URLSearchParams says of a parameter that is given once', () => {
    const part = fc.stringMatching(/^[a-c=%1]{0,6}$/);
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
        const query = parts.join('&');
        const found = queryValue(query, 'a');
        const all = new URLSearchParams(query).getAll('a');
        if (found.kind === 'one') expect(all).toEqual([found.value]);
        if (found.kind === 'none') expect(all).toEqual([]);
        if (found.kind === 'repeated') expect(all.length).toBeGreaterThan(1);
      }),
    );
  });

  it.each(['&', 'a&', 'a=&', '=', 'a=b&', '%&'])(
    'looks at each character of any number of %j but a few times',
    (piece) => {
      for (const length of [10_000, 100_000]) {
        const query = piece.repeat(length / piece.length);
        expect(lookedAt(() => queryValue(query, 'ns'))).toBeLessThan(4 * length);
      }
    },
  );
});
