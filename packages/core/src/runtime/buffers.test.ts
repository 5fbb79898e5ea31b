import { manualClock } from '@proxycache/test-kit';
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

it('gives a new reader a large buffer only while a quarter of the budget is enough for those', () => {
  const buffers = createBuffers(8 * large);
  expect(sizes(Array.from({ length: 3 }, () => buffers.take('new')))).toEqual([large, large, pooled]);
  expect(sizes(Array.from({ length: 3 }, () => buffers.take('quick')))).toEqual([large, large, pooled]);
});

it('gives slow readers quarters of a buffer when many wait, and leaves the last quarter to others', () => {
  const buffers = createBuffers(8 * pooled);
  const slow = Array.from({ length: 10 }, () => buffers.take('slow'));
  expect(sizes(slow)).toEqual([...Array(5).fill(pooled), ...Array(4).fill(pooled / 4), small]);
  expect(sizes([buffers.take('new'), buffers.take('new')])).toEqual([pooled, small]);
  expect(buffers.take('quick').byteLength).toBe(pooled);
});

it('keeps the very last of the budget for readers that proved quick', () => {
  const buffers = createBuffers(8 * pooled);
  const crowd = Array.from({ length: 8 }, () => buffers.take('new', pooled));
  expect(sizes(crowd)).toEqual([...Array(7).fill(pooled), small]);
  expect(buffers.take('quick').byteLength).toBe(pooled);
});

it('has room for new readers to read ahead while half of the budget is free, and for no slow one', () => {
  const buffers = createBuffers(4 * pooled);
  const first = buffers.take();
  expect(buffers.hasRoom('new')).toBe(true);
  buffers.take();
  expect(buffers.hasRoom('new')).toBe(false);
  buffers.give(first);
  expect(buffers.hasRoom('new')).toBe(true);
  expect(buffers.hasRoom('slow')).toBe(false);
  expect(createBuffers(0).hasRoom('new')).toBe(false);
});

it('lets a quick reader read ahead beside a crowd of slow ones that took all they may', () => {
  const buffers = createBuffers(8 * pooled);
  for (let i = 0; i < 20; i++) buffers.take('slow');
  expect(buffers.hasRoom('quick')).toBe(true);
  expect(buffers.hasRoom('new')).toBe(false);
  buffers.take('new');
  expect(buffers.hasRoom('quick')).toBe(false);
});

it('lends what lies idle in a smaller size sooner than to make a larger one beyond the budget', () => {
  const buffers = createBuffers(2 * large);
  const many = Array.from({ length: 8 }, () => buffers.take());
  for (const buffer of many) buffers.give(buffer);
  expect(many).toContain(buffers.take('quick'));
});

it('lets what lies idle in a larger size make room', () => {
  const buffers = createBuffers(2 * large);
  const first = buffers.take('quick');
  buffers.give(first);
  const many = Array.from({ length: 9 }, () => buffers.take());
  expect(sizes(many)).toEqual([...Array(8).fill(pooled), small]);
  for (const buffer of many) buffers.give(buffer);
  expect(buffers.take('quick')).not.toBe(first);
});

it('lets go of what it held for a crowd, once that lay idle for ten seconds', async () => {
  const clock = manualClock();
  const buffers = createBuffers(64 * large, clock);
  const crowd = Array.from({ length: 200 }, () => buffers.take());
  for (const buffer of crowd) buffers.give(buffer);
  const few = () => Array.from({ length: 2 }, () => buffers.take());
  const known = (taken: readonly Uint8Array[]) => taken.filter((buffer) => crowd.includes(buffer)).length;
  const afterAll = () => {
    const all = Array.from({ length: 200 }, () => buffers.take());
    for (const buffer of all) buffers.give(buffer);
    return known(all);
  };
  expect(afterAll()).toBe(200);
  for (let period = 0; period < 3; period++) {
    await clock.advance(10_000);
    for (const buffer of few()) buffers.give(buffer);
  }
  expect(afterAll()).toBe(2);
});

it('handed memory of an answer that close cut off to another, before a slow client had been sent it', () => {
  const buffers = createBuffers(4 * large);
  const [one, other] = [buffers.take('quick'), buffers.take()];
  buffers.close();
  for (const buffer of [one, other]) buffers.give(buffer);
  const again = [buffers.take('quick'), buffers.take()];
  expect(sizes(again)).toEqual([large, pooled]);
  expect(again.some((buffer) => buffer === one || buffer === other)).toBe(false);
});

it('kept all the small buffers of a crowd, beyond its budget', () => {
  const buffers = createBuffers(0);
  const crowd = Array.from({ length: 1_000 }, () => buffers.take());
  for (const buffer of crowd) buffers.give(buffer);
  const again = Array.from({ length: 1_000 }, () => buffers.take());
  expect(again.filter((buffer) => crowd.includes(buffer))).toHaveLength(64);
});
