import { setMaxListeners } from 'node:events';
import type { MetadataStore } from '@proxycache/core';
import { type RedisEvent, type RedisMetadata, redisCoordinator, redisMetadata } from '@proxycache/redis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { requireProgram } from '../system.ts';
import { type RedisServer, startRedisServer } from './redis-server.ts';

const program = requireProgram('redis-server');
const { signal } = new AbortController();
setMaxListeners(0, signal);
const waiting = { timeout: 15_000, interval: 20 };
const failed = { code: 'storage-failed' };

/** Each call of a store, once. */
const everyCall = (store: MetadataStore, given = { signal }) => [
  store.get('key', given),
  store.getMany(['key', 'other'], given),
  store.set('key', 'y', given),
  store.delete('key', given),
  store.list('', { limit: 1, ...given }),
];

describe.skipIf(program === undefined)('a Redis that is away', () => {
  let server: RedisServer;
  let store: RedisMetadata;
  let events: RedisEvent[];

  beforeEach(async () => {
    server = await startRedisServer(program!);
    events = [];
    store = redisMetadata({ url: server.url, answerWithin: 1_000, observer: (event) => events.push(event) });
    await store.set('key', 'x', { signal });
  });
  afterEach(async () => {
    await store?.close();
    await server?.close();
  });

  const read = () => store.get('key', { signal }).catch((error) => error);
  const backAgain = async () => {
    await expect.poll(read, waiting).toMatchObject({ value: 'x' });
    expect(events.at(-1)).toMatchObject({ type: 'redis-ready' });
  };
  const types = () => events.map(({ type }) => type);

  test.each(['stop', 'kill'] as const)('fails every call at once after a %s, and comes back by itself', async (how) => {
    await server[how]();
    await expect.poll(types, waiting).toContain('redis-lost');
    for (const call of everyCall(store)) await expect(call).rejects.toMatchObject(failed);
    await expect(store.get('key', { signal })).rejects.toThrow(/is away: .*/);

    // Nothing is sent or waited for: thousands of calls fail before a timer has had its turn.
    let turns = 0;
    const timer = setInterval(() => turns++, 1_000);
    const outcomes = await Promise.allSettled(Array.from({ length: 2_000 }, () => store.get('key', { signal })));
    clearInterval(timer);
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    expect(turns).toBeLessThan(3);

    await server.start();
    await backAgain();
    expect(types()).toEqual(['redis-ready', 'redis-lost', 'redis-ready']);
  });

  test('fails within its deadline while it stands still, at once from then on, and comes back by itself', async () => {
    server.freeze();
    const outcomes = await Promise.allSettled(everyCall(store));
    const messages = outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason.message : 'no failure'));
    for (const message of messages) expect(message).toMatch(/did not answer .* within 1000 ms|Disconnects client/);
    // The connection is given up: no later call waits for the deadline.
    await expect(store.get('key', { signal })).rejects.toThrow('is away');
    server.thaw();
    // The write and the delete were sent and not answered: Redis may have done them.
    await expect.poll(() => store.set('key', 'x', { signal }).catch(() => false), waiting).toBe(true);
    await backAgain();
  });

  test('while it stood still it was waited for twice, for metadata and for a coordinator that was made apart', async () => {
    const coordinator = redisCoordinator({ url: server.url, answerWithin: 1_000 });
    await coordinator.holder('lease');
    server.freeze();
    await expect(store.get('key', { signal })).rejects.toThrow('did not answer GET within 1000 ms');
    // It says what the other had asked: nothing more was.
    await expect(coordinator.acquire('lease', { for: 1_000, signal })).rejects.toThrow(
      /did not answer (GET|PING)|is away/,
    );
    server.thaw();
    const acquired = () => coordinator.acquire('lease', { for: 1_000, signal }).catch(() => undefined);
    await expect.poll(acquired, waiting).toBeDefined();
    await backAgain();
    await coordinator.close();
  });

  test('notices that it stands still also under calls that never cease', async () => {
    let ended = false;
    const calling = (async () => {
      while (!ended) {
        void store.get('key', { signal }).catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    server.freeze();
    await expect.poll(types, waiting).toContain('redis-lost');
    server.thaw();
    await backAgain();
    ended = true;
    await calling;
  });

  test('lets go of whoever gives up while it stands still', async () => {
    server.freeze();
    const controller = new AbortController();
    const calls = everyCall(store, { signal: controller.signal });
    const gaveUp = new Error('gave up');
    controller.abort(gaveUp);
    for (const call of calls) await expect(call).rejects.toBe(gaveUp);
    server.thaw();
    await expect.poll(() => store.set('key', 'x', { signal }).catch(() => false), waiting).toBe(true);
  });

  test('is waited for when it starts after the store, and calls fail until then', async () => {
    await server.stop();
    const early = redisMetadata({ url: server.url });
    for (const call of everyCall(early)) await expect(call).rejects.toThrow(/is away: .*ECONNREFUSED/);
    await server.start();
    await expect.poll(() => early.get('key', { signal }).catch(() => undefined), waiting).toMatchObject({ value: 'x' });
    await early.close();
  });

  test('is asked no more after close, also in the middle of an outage', async () => {
    await server.stop();
    await expect.poll(types, waiting).toContain('redis-lost');
    await store.close();
    await expect(store.get('key', { signal })).rejects.toMatchObject({ code: 'closed' });
    await server.start();
    const told = events.length;
    const other = redisMetadata({ url: server.url });
    await expect.poll(() => other.get('key', { signal }).catch(() => undefined), waiting).toMatchObject({ value: 'x' });
    await other.close();
    expect(events).toHaveLength(told);
  });

  test('closes within the deadline while it stands still', async () => {
    server.freeze();
    const reading = store.get('key', { signal });
    const closing = store.close();
    await expect(reading).rejects.toMatchObject({ name: 'ProxyCacheError' });
    await closing;
    server.thaw();
  });
});
