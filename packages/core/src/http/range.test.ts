import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RangeSpec } from '../runtime/byte-range.ts';
import type { HttpRequest } from './message.ts';
import { parseRange, requestedRanges } from './range.ts';

const etag = '"sha256:aa"';

function request(headers: Record<string, string>, method = 'GET'): HttpRequest {
  return {
    method,
    url: '/v2/',
    basePath: '',
    headers: { get: (name) => headers[name] ?? null },
    signal: new AbortController().signal,
    body: async () => new Uint8Array(),
  };
}

describe('parseRange', () => {
  it.each<[string, RangeSpec[]]>([
    ['bytes=0-499', [{ from: 0, to: 499 }]],
    ['bytes=500-', [{ from: 500 }]],
    ['bytes=-500', [{ last: 500 }]],
    ['bytes=500-0', [{ from: 500, to: 0 }]],
    ['bytes=-0', [{ last: 0 }]],
    ['Bytes=0-0', [{ from: 0, to: 0 }]],
    ['bytes=0-1,2-3, -4 ,\t5-', [{ from: 0, to: 1 }, { from: 2, to: 3 }, { last: 4 }, { from: 5 }]],
    ['bytes= 0 - 1 ', [{ from: 0, to: 1 }]],
    ['bytes=,,0-1,,', [{ from: 0, to: 1 }]],
    ['bytes=0007-0009', [{ from: 7, to: 9 }]],
    ['bytes=99999999999999999999999-', [{ from: Number.MAX_SAFE_INTEGER }]],
  ])('reads %s', (header, specs) => {
    expect(parseRange(header)).toEqual(specs);
  });

  it.each([
    '',
    'bytes',
    'bytes=',
    'bytes=,',
    'bytes=-',
    'bytes=a-b',
    'bytes=1',
    'bytes=1-2-3',
    'bytes=--1',
    'bytes=1 2-3',
    'bytes=0x1-2',
    'bytes=+1-2',
    'bytes=1.0-2',
    'bytes=0-1;2-3',
    'items=0-1',
    '0-1',
    'bytes=0-1,nonsense',
  ])('ignores %j', (header) => {
    expect(parseRange(header)).toBeUndefined();
  });

  it('takes 256 ranges and refuses 257', () => {
    const ranges = (count: number) => `bytes=${Array.from({ length: count }, (_, i) => `${2 * i}-${2 * i}`).join(',')}`;
    expect(parseRange(ranges(256))).toHaveLength(256);
    expect(() => parseRange(ranges(257))).toThrow(expect.objectContaining({ code: 'range-invalid' }));
  });

  it('reads back whatever is written', () => {
    const position = fc.maxSafeNat();
    const spec = fc.oneof(
      fc.record({ from: position }),
      fc.record({ from: position, to: position }),
      fc.record({ last: position }),
    );
    const blank = fc.constantFrom('', ' ', '\t', '  ');
    const write = (s: RangeSpec) => ('last' in s ? `-${s.last}` : `${s.from}-${s.to ?? ''}`);
    fc.assert(
      fc.property(fc.array(spec, { minLength: 1, maxLength: 20 }), blank, (specs: RangeSpec[], space) => {
        expect(parseRange(`bytes=${specs.map((s) => space + write(s) + space).join(',')}`)).toEqual(specs);
      }),
    );
  });

  it('never throws for what a client may send in 20 ranges', () => {
    const text = fc.string({ unit: fc.constantFrom('0', '9', '-', ',', ' ', '=', 'b', 'é'), maxLength: 40 });
    fc.assert(
      fc.property(text, (junk) => {
        for (const spec of parseRange(`bytes=${junk}`) ?? []) {
          for (const value of Object.values(spec)) expect(Number.isSafeInteger(value)).toBe(true);
        }
      }),
    );
  });
});

describe('requestedRanges', () => {
  const range = 'bytes=0-1';
  const specs = [{ from: 0, to: 1 }];

  it('reads the Range of a GET', () => {
    expect(requestedRanges(request({ range }), etag)).toEqual(specs);
  });

  it('gives the whole without a Range', () => {
    expect(requestedRanges(request({}), etag)).toBeUndefined();
  });

  it('ignores Range on HEAD', () => {
    expect(requestedRanges(request({ range }, 'HEAD'), etag)).toBeUndefined();
  });

  it('gives the range when If-Range names what we have', () => {
    expect(requestedRanges(request({ range, 'if-range': etag }), etag)).toEqual(specs);
  });

  it.each(['"sha256:bb"', 'W/"sha256:aa"', 'sha256:aa', 'Wed, 21 Oct 2015 07:28:00 GMT', ''])(
    'gives the whole when If-Range is %j',
    (ifRange) => {
      expect(requestedRanges(request({ range, 'if-range': ifRange }), etag)).toBeUndefined();
    },
  );
});
