import { expect, it } from 'vitest';
import { createBuffers } from './buffers.ts';

const pooled = 256 * 1024;
const large = 1024 * 1024;
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

const sizes = (taken: readonly Uint8Array[]) => taken.map((buffer) => buffer.byteLength);

it('gives quick readers large buffers, up to half of the budget, and none larger than what is left to read', () => {
  const buffers = createBuffers(4 * large);
  expect(buffers.take('quick', pooled).byteLength).toBe(pooled);
  const taken = Array.from({ length: 4 }, () => buffers.take('quick', 10 * large));
  expect(sizes(taken)).toEqual([large, large, pooled, pooled]);
  buffers.drop(taken[0]!);
  buffers.give(taken[1]!);
  expect(buffers.take('quick')).toBe(taken[1]);
  expect(sizes([buffers.take('quick'), buffers.take('quick')])).toEqual([large, pooled]);
});

it('leaves a quarter of the budget to others than slow readers', () => {
  const buffers = createBuffers(4 * pooled);
  const slow = Array.from({ length: 4 }, () => buffers.take('slow'));
  expect(sizes(slow)).toEqual([pooled, pooled, pooled, small]);
  expect(sizes([buffers.take(), buffers.take()])).toEqual([pooled, small]);
});

it('lets what lies idle in one size make room for the other', () => {
  const buffers = createBuffers(2 * large);
  const many = Array.from({ length: 8 }, () => buffers.take());
  expect(sizes(many).every((size) => size === pooled)).toBe(true);
  for (const buffer of many) buffers.give(buffer);
  expect(buffers.take('quick').byteLength).toBe(large);
  const again = Array.from({ length: 5 }, () => buffers.take());
  expect(sizes(again)).toEqual([pooled, pooled, pooled, pooled, small]);
  expect(again.slice(0, 4).every((buffer) => many.includes(buffer))).toBe(true);
});

it('keeps what a few readers need when a crowd has gone, not what the crowd did', () => {
  const buffers = createBuffers(64 * large);
  const crowd = Array.from({ length: 200 }, () => buffers.take());
  for (const buffer of crowd) buffers.give(buffer);
  const again = Array.from({ length: 200 }, () => buffers.take());
  expect(again.filter((buffer) => crowd.includes(buffer)).length).toBe((16 * large) / pooled);
});
