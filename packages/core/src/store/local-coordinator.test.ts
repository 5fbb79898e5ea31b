import { casesOf, coordinatorContract } from '@proxycache/contract';
import { manualClock } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { localCoordinator } from './local-coordinator.ts';
import { memoryStorage } from './memory-storage.ts';

const signal = new AbortController().signal;
const lease = { for: 1000, signal };

describe('localCoordinator', () => {
  const make = async () => {
    const coordinator = localCoordinator();
    return { one: coordinator, other: coordinator, close: async () => undefined };
  };
  for (const { name, run } of casesOf(coordinatorContract)) test(name, () => run(make));
});

test('gives a lease to one holder at a time, with rising tokens', async () => {
  const coordinator = localCoordinator();
  const first = await coordinator.acquire('key', { ...lease, value: 'me' });
  expect(await coordinator.acquire('key', lease)).toBeUndefined();
  expect(await coordinator.holder('key')).toBe('me');
  await first?.release();
  expect(await coordinator.holder('key')).toBeUndefined();
  const second = await coordinator.acquire('key', lease);
  expect(second?.token).toBeGreaterThan(first?.token ?? 0);
  expect(second?.lost.aborted).toBe(false);
});

test('does not end the next lease when one is released twice', async () => {
  const coordinator = localCoordinator();
  const first = await coordinator.acquire('key', lease);
  await first?.release();
  await coordinator.acquire('key', lease);
  await first?.release();
  expect(await coordinator.acquire('key', lease)).toBeUndefined();
});

test('gives no lease to whoever has given up', async () => {
  const coordinator = localCoordinator();
  await expect(coordinator.acquire('key', { for: 1, signal: AbortSignal.abort('left') })).rejects.toBe('left');
  expect(await coordinator.holder('key')).toBeUndefined();
});

test('delivers messages to the subscribers of their channel until they end', async () => {
  const coordinator = localCoordinator();
  const seen: string[] = [];
  const end = coordinator.subscribe('a', (message) => seen.push(`1:${message}`));
  coordinator.subscribe('a', () => {
    throw new Error('not the others');
  });
  coordinator.subscribe('a', (message) => seen.push(`2:${message}`));
  await coordinator.publish('a', 'x');
  await coordinator.publish('b', 'y');
  end();
  await coordinator.publish('a', 'z');
  expect(seen).toEqual(['1:x', '2:x', '2:z']);
});

test('after a restart its tokens were refused as older than those that the stores had seen', async () => {
  const { metadata } = memoryStorage();
  const clock = manualClock();
  for (const value of ['before', 'after']) {
    const coordinator = localCoordinator({ clock });
    for (let turn = 0; turn < 3; turn++) {
      const next = await coordinator.acquire('key', lease);
      expect(await metadata.set('tag/a', value, { fence: next?.token ?? 0, signal })).toBe(true);
      await next?.release();
    }
    await clock.advance(1);
  }
});
