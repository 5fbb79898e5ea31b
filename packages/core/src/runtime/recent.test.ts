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
