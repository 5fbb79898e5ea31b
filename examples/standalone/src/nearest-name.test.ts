import { expect, test } from 'vitest';
import { nearestName } from './nearest-name.ts';

const names = ['freshFor', 'hosts', 'url', 'tokenHosts', 'key'];

test.each([
  ['freshfor', 'freshFor'],
  ['freshFr', 'freshFor'],
  ['host', 'hosts'],
  ['tokenHost', 'tokenHosts'],
  ['URL', 'url'],
  ['uri', 'url'],
])('%s probably means %s', (name, meant) => {
  expect(nearestName(name, names)).toBe(meant);
});

test.each(['ttl', 'credentials', ''])('%j means none of them', (name) => {
  expect(nearestName(name, names)).toBeUndefined();
});

test('among no names nothing was meant', () => {
  expect(nearestName('url', [])).toBeUndefined();
});
