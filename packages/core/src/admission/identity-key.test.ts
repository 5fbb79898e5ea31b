import { expect, it } from 'vitest';
import { identityKey } from './identity-key.ts';

const key = (attributes?: Record<string, unknown>, name = 'ann') =>
  identityKey({ name, ...(attributes && { attributes }) });

it('is the same for the same name and attributes, in whatever order', () => {
  expect(key({ a: 1, b: ['x'] })).toBe(key({ b: ['x'], a: 1 }));
  expect(key()).toBe(key());
  expect(identityKey(undefined)).toBe('-');
});

it('differs where anything does', () => {
  const keys = [
    key(),
    key({}),
    key({}, 'bob'),
    key({ a: 1 }),
    key({ a: '1' }),
    key({ a: null }),
    key({ a: undefined }),
    key({ a: [1, 2] }),
    key({ a: [[1], 2] }),
    key({ a: { 0: 1, 1: 2 } }),
    key({ a: 0 }),
    key({ a: -0 }),
    identityKey({ name: 'ann', repositories: [] }),
    identityKey({ name: 'ann', repositories: ['a'] }),
  ];
  expect(new Set(keys).size).toBe(keys.length);
});

it('is none where more may be in it than can be seen: a decision on it is for nobody else', () => {
  const round: Record<string, unknown> = {};
  round['self'] = round;
  const hidden = [new Set(['admin']), new Map(), new Date(0), () => 1, Symbol('x'), 1n, round, { [Symbol('x')]: 1 }];
  for (const value of hidden) expect(key({ value })).toBeUndefined();
});
