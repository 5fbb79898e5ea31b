import { expect, test } from 'vitest';
import { casesOf } from './contract.ts';

const contract = ['a', 'b'].map((name) => ({ name, run: async () => undefined }));

test('leaves out the cases that are skipped with a reason', () => {
  expect(casesOf(contract)).toEqual(contract);
  expect(casesOf(contract, { skip: [{ case: 'a', reason: 'no clock' }] })).toEqual([contract[1]]);
});

test.each([
  [[{ case: 'c', reason: 'gone' }], 'no case "c"'],
  [[{ case: 'a', reason: ' ' }], 'say why "a"'],
  [
    [
      { case: 'a', reason: 'x' },
      { case: 'a', reason: 'x' },
    ],
    'twice',
  ],
])('refuses the skips %j', (skip, message) => {
  expect(() => casesOf(contract, { skip })).toThrow(message);
});
