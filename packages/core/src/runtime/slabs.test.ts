import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { createSlabs } from './slabs.ts';

const slab = 512 * 1024;
const large = 2 * slab;
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

it('is larger for what comes fast: half a megabyte at a time cost twice the work', () => {
  const slabs = createSlabs(large + slab);
  expect(slabs.take(slab).byteLength).toBe(slab);
  const first = slabs.take(slab + 1);
  expect(first.byteLength).toBe(large);
  expect(slabs.take(large).byteLength).toBe(small);
  slabs.give(first);
  expect(slabs.take(large) === first).toBe(true);
});

it('makes no other memory while there is idle one of either size that fits in', () => {
  const slabs = createSlabs(large);
  const only = slabs.take(large);
  slabs.give(only);
  expect(slabs.take() === only).toBe(true);
  const others = createSlabs(slab);
  const half = others.take();
  others.give(half);
  expect(others.take(large) === half).toBe(true);
});

it('kept the memory of what was slow beside that of what is fast now', async () => {
  const slabs = createSlabs(2 * large);
  setFlagsFromString('--expose-gc');
  const collectGarbage: () => void = runInNewContext('gc');
  for (const memory of [slabs.take(), slabs.take()]) slabs.give(memory);
  slabs.take(large);
  // What was idle has been let go, and makes room for one more.
  await expect
    .poll(() => {
      collectGarbage();
      return slabs.take(large).byteLength;
    })
    .toBe(large);
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
