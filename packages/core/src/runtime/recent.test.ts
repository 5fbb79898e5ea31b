import { expect, test } from 'vitest';
import { createRecent } from './recent.ts';

test('what was used last is kept, at most so many', () => {
  const recent = createRecent<string, number>(3);
  for (const [index, key] of ['a', 'b', 'c'].entries()) recent.set(key, index);
  recent.get('a');
  for (const [index, key] of ['d', 'e'].entries()) recent.set(key, index);
  expect([...recent.keys()].sort()).toEqual(['a', 'd', 'e']);
  for (let key = 0; key < 1_000; key++) recent.set(String(key), key);
  expect([recent.size, recent.get('999'), recent.get('996')]).toEqual([3, 999, undefined]);
});

test('they are bounded in number and in bytes, where they differ in size', () => {
  const recent = createRecent<string, string>(4, { maxBytes: 100, bytesOf: (value) => value.length });
  for (let key = 0; key < 10; key++) recent.set(String(key), 'short');
  expect([...recent.values()]).toHaveLength(4);
  recent.set('long', 'l'.repeat(60));
  expect([...recent.keys()]).toEqual(['long', '9']);
  recent.set('longer', 'l'.repeat(101));
  expect(recent.has('longer')).toBe(false);
});

test('a number of bytes may be a fraction', () => {
  const recent = createRecent<string, string>(4, { maxBytes: 100.25, bytesOf: (value) => value.length });
  recent.set('a', 'some');
  expect(recent.get('a')).toBe('some');
});

test('nothing is kept where there is room for no byte', () => {
  const recent = createRecent<string, string>(4, { maxBytes: 0, bytesOf: (value) => value.length });
  recent.set('a', 'some');
  expect(recent.size).toBe(0);
});
