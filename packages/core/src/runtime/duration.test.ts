import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Duration, parseDuration, showDuration } from './duration.ts';

describe('parseDuration', () => {
  it.each<[Duration, number]>([
    [0, 0],
    [500, 500],
    [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    ['500ms', 500],
    ['10s', 10_000],
    ['5m', 300_000],
    ['12h', 43_200_000],
    ['7d', 604_800_000],
    ['1.5h', 5_400_000],
  ])('reads %s', (duration, ms) => {
    expect(parseDuration(duration)).toBe(ms);
  });

  it.each([
    -1,
    Number.NaN,
    '',
    '10',
    's',
    '10 s',
    '-10s',
    '10S',
    '10sec',
    '1e3s',
    '.5s',
    '5.s',
    ' 10s',
    '10s\n',
    null,
    {},
  ])('refuses %j', (duration) => {
    expect(() => parseDuration(duration as Duration)).toThrow(expect.objectContaining({ code: 'invalid-options' }));
  });

  it('reads every number of ms back, bare or with its unit', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (ms) => {
        expect(parseDuration(ms)).toBe(ms);
        expect(parseDuration(`${ms}ms`)).toBe(ms);
      }),
    );
  });
});

describe('showDuration', () => {
  it.each([
    [0, '0ms'],
    [500, '500ms'],
    [20_000, '20s'],
    [90_000, '90s'],
    [604_800_000, '7d'],
  ])('writes %s as people do: %s', (ms, text) => {
    expect(showDuration(ms)).toBe(text);
    expect(parseDuration(text as Duration)).toBe(ms);
  });
});
