import { expect, it } from 'vitest';
import { createBuffers } from './buffers.ts';

const pooled = 256 * 1024;
const small = 16 * 1024;

it('hands a buffer that came back out again', () => {
  const buffers = createBuffers(pooled);
  const first = buffers.take();
  expect(first.byteLength).toBe(pooled);
  buffers.give(first);
  expect(buffers.take()).toBe(first);
});

it('never makes anybody wait: past the budget each reader gets a small buffer of its own', () => {
  const buffers = createBuffers(2 * pooled);
  const taken = Array.from({ length: 5 }, () => buffers.take());
  expect(taken.map((buffer) => buffer.byteLength)).toEqual([pooled, pooled, small, small, small]);
  for (const buffer of taken) buffers.give(buffer);
  // Small ones are not kept: the budget is for the large.
  expect([buffers.take(), buffers.take(), buffers.take()].map((buffer) => buffer.byteLength)).toEqual([
    pooled,
    pooled,
    small,
  ]);
});

it('never hands out what was dropped, and makes another in its place', () => {
  const buffers = createBuffers(pooled);
  const dropped = buffers.take();
  buffers.drop(dropped);
  const next = buffers.take();
  expect(next).not.toBe(dropped);
  expect(next.byteLength).toBe(pooled);
  const over = buffers.take();
  buffers.drop(over);
  expect(buffers.take().byteLength).toBe(small);
});
