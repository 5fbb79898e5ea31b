import { expect, it } from 'vitest';
import { nearestName } from './nearest-name.ts';

const names = ['freshFor', 'absentFor', 'onAbsent', 'url'];

it.each([
  ['freshfor', 'freshFor'],
  ['fresFor', 'freshFor'],
  ['onAbsents', 'onAbsent'],
  ['uri', 'url'],
  ['ttl', undefined],
  ['password', undefined],
  ['', undefined],
])('of %j the nearest name is %j', (name, expected) => {
  expect(nearestName(name, names)).toBe(expected);
});

it('has none among none', () => {
  expect(nearestName('x', [])).toBeUndefined();
});
