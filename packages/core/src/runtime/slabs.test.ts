import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { createSlabs } from './slabs.ts';

const slab = 512 * 1024;
const small = 64 * 1024;

it('hands memory out again that came back, by any view of it', () => {
  const slabs = createSlabs(slab);
  const first = slabs.take();
  expect(first.byteLength).toBe(slab);
  slabs.give(first.subarray(10, 20));
  expect(slabs.take()).toBe(first);
});

it('never makes anybody wait: past the budget each taker gets a small piece of its own', () => {
  const slabs = createSlabs(2 * slab);
  const taken = Array.from({ length: 4 }, () => slabs.take());
  expect(taken.map(({ byteLength }) => byteLength)).toEqual([slab, slab, small, small]);
  for (const memory of taken) slabs.give(memory);
  expect(Array.from({ length: 3 }, () => slabs.take().byteLength)).toEqual([slab, slab, small]);
});

it('never hands out the same memory to two, though it was given back twice', () => {
  const slabs = createSlabs(2 * slab);
  const first = slabs.take();
  slabs.give(first);
  slabs.give(first);
  // Compared by hand: a matcher would compare half a megabyte byte by byte.
  const [one, other] = [slabs.take(), slabs.take()];
  expect(one === other).toBe(false);
});

it('ignores memory of others', () => {
  const slabs = createSlabs(slab);
  const other = new Uint8Array(slab);
  slabs.give(other);
  expect(slabs.take() === other).toBe(false);
});

it('makes others in place of those that are forgotten', async () => {
  const slabs = createSlabs(slab);
  setFlagsFromString('--expose-gc');
  const collectGarbage: () => void = runInNewContext('gc');
  slabs.take();
  expect(slabs.take().byteLength).toBe(small);
  await expect
    .poll(() => {
      collectGarbage();
      return slabs.take().byteLength;
    })
    .toBe(slab);
});

it('handed memory of a transfer that close cut off to another, before a slow client had been sent it', () => {
  const slabs = createSlabs(4 * slab);
  const one = slabs.take();
  slabs.close();
  slabs.give(one);
  expect(slabs.take() === one).toBe(false);
});

it('is memory that threads look at, too, where it is to be shared', () => {
  expect(createSlabs(slab, { shared: true }).take().buffer).toBeInstanceOf(SharedArrayBuffer);
  expect(createSlabs(slab).take().buffer).toBeInstanceOf(ArrayBuffer);
});
