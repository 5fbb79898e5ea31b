import { expect, it } from 'vitest';
import { practise } from './practise.ts';

it('reads a manifest and a blob that nobody sent, as often as it is done', async () => {
  expect(await Promise.all([practise(), practise()])).toEqual([true, true]);
  expect(await practise()).toBe(true);
});
