import { setMaxListeners } from 'node:events';
import { createSentinel } from '@keyv/redis';
import { casesOf, metadataStoreContract } from '@proxycache/contract';
import { redisCoordinator, redisMetadata } from '@proxycache/redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requireProgram } from '../system.ts';
import { startWatchedRedis, type WatchedRedis } from './redis-sentinels.ts';
import { tellRedis } from './redis-server.ts';

const program = requireProgram('redis-server');
const { signal } = new AbortController();
setMaxListeners(0, signal);
/** A machine under load stops all of its processes for a while. */
const patient = { answerWithin: '10s' } as const;
const waiting = { timeout: 15_000, interval: 20 };

describe.skipIf(program === undefined)('metadata in the primary that sentinels name', () => {
  let redis: WatchedRedis;
  let prefixes = 0;
  const freshPrefix = () => `contract-${prefixes++}`;

  beforeAll(async () => {
    redis = await startWatchedRedis(program!);
  });
  afterAll(() => redis?.close());

  const byName = (prefix: string) =>
    redisMetadata({ ...patient, sentinel: { name: 'main', nodes: redis.nodes }, prefix });

  describe('by their addresses', () => {
    const make = async () => {
      const store = byName(freshPrefix());
      return { store, close: store.close };
    };
    for (const { name, run } of casesOf(metadataStoreContract)) test(name, () => run(make));
  });

  test('has leases and messages too', async () => {
    const coordinator = redisCoordinator({
      ...patient,
      sentinel: { name: 'main', nodes: redis.nodes },
      prefix: 'leases',
    });
    const heard = new Promise((resolve) => coordinator.subscribe('channel', resolve));
    await coordinator.publish('channel', 'x');
    expect(await heard).toBe('x');
    const lease = await coordinator.acquire('job', { for: 10_000, value: 'me', signal });
    expect(await coordinator.holder('job')).toBe('me');
    await lease?.release();
    await coordinator.close();
  });

  test("takes the host's sentinel client", async () => {
    const sentinelRootNodes = redis.nodes.map((node) => ({ host: '127.0.0.1', port: Number(node.split(':')[1]) }));
    const client = await createSentinel({ name: 'main', sentinelRootNodes }).connect();
    const store = redisMetadata({ client, prefix: 'host' });
    await store.set('tag/a', '1', { signal });
    expect(await store.list('', { limit: 2, signal })).toEqual(['tag/a']);
    expect(await store.getMany(['tag/a', 'tag/b'], { signal })).toMatchObject([{ value: '1' }, undefined]);
    await client.destroy();
  });

  test('says which sentinel could not name the primary, and why', async () => {
    const store = redisMetadata({ sentinel: { name: 'other', nodes: [redis.nodes[0]!, '127.0.0.1:1'] } });
    const message = new RegExp(`"other".*${redis.nodes[0]}.*does not know it.*127\\.0\\.0\\.1:1 .*ECONNREFUSED`);
    await expect(store.get('key', { signal })).rejects.toThrow(message);
    await store.close();
  });

  test('asks the other sentinels where one hangs, and goes on with the replica when the primary stands still', async () => {
    redis.freezeSentinel(0);
    const sentinel = { name: 'main', nodes: redis.nodes };
    const store = redisMetadata({ sentinel, prefix: 'failover', answerWithin: '1s' });
    const set = (value: string) => store.set('key', value, { signal }).catch(() => false);
    await expect.poll(() => set('before'), waiting).toBe(true);
    const replicated = redisMetadata({ url: redis.replica.url, prefix: 'failover' });
    await expect.poll(() => replicated.get('key', { signal }), waiting).toMatchObject({ value: 'before' });
    await expect(replicated.set('key', 'x', { signal })).rejects.toThrow(/READONLY.*replica/);
    await replicated.close();

    redis.primary.freeze();
    const read = () => store.get('key', { signal }).catch((error) => error);
    await expect.poll(read, waiting).toMatchObject({ value: 'before' });
    await expect.poll(() => set('after'), waiting).toBe(true);
    // The old one comes back as what it was, and nobody asks it.
    redis.primary.thaw();
    await expect.poll(() => set('last'), waiting).toBe(true);
    // One that has not heard of the failover yet would name the old one.
    const named = () =>
      Promise.all(
        redis.nodes
          .slice(1)
          .map((node) => tellRedis(Number(node.split(':')[1]), 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'main')),
      );
    const replica = ['127.0.0.1', String(redis.replica.port)];
    await expect.poll(named, waiting).toEqual([replica, replica]);
    const other = byName('failover');
    expect(await other.get('key', { signal })).toMatchObject({ value: 'last' });
    expect(await other.list('', { limit: 2, signal })).toEqual(['key']);
    await other.close();
    await store.close();
  });
});
