import { expect, test } from 'vitest';
import type { Digest } from '../oci/digest.ts';
import { createPrefetchQueue, type Wanted } from './prefetch-queue.ts';
import type { Target } from './target.ts';

const MiB = 1024 * 1024;
const wanted = (name: string | number, size = 1000): Wanted => ({
  target: {} as Target,
  digest: `sha256:${name}` as Digest,
  size,
  manifest: 'sha256:m',
});

test('what is large is passed over until it is in nobody’s way', () => {
  const queue = createPrefetchQueue();
  for (const one of [wanted('config'), wanted('large', MiB + 1), wanted('small', MiB)]) queue.add(one);
  const take = (large: boolean) => queue.take({ large })?.digest;
  expect([take(false), take(false), take(false)]).toEqual(['sha256:config', 'sha256:small', undefined]);
  expect([queue.size, take(true), take(true)]).toEqual([1, 'sha256:large', undefined]);
});

test('a blob waits once, and no longer when it is taken out', () => {
  const queue = createPrefetchQueue();
  for (let i = 0; i < 2; i++) queue.add(wanted('same'));
  queue.add(wanted('other'));
  queue.delete('sha256:same');
  expect(queue.clear().map(({ digest }) => digest)).toEqual(['sha256:other']);
  expect(queue.size).toBe(0);
});

test('of more than 1,000 the one that has waited longest makes room', () => {
  const queue = createPrefetchQueue();
  for (let i = 0; i < 1000; i++) expect(queue.add(wanted(i))).toBeUndefined();
  expect(queue.add(wanted('more'))?.digest).toBe('sha256:0');
  expect(queue.take({ large: true })?.digest).toBe('sha256:1');
});
