import { setMaxListeners } from 'node:events';
import { createSentinel } from '@keyv/redis';
import { casesOf, coordinatorContract, metadataStoreContract } from '@proxycache/contract';
import { redisCoordinator, redisMetadata } from '@proxycache/redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requireProgram } from '../system.ts';
import { startWatchedRedis, type WatchedRedis } from './redis-sentinels.ts';

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

  describe('and a coordinator', () => {
    const make = async () => {
      const prefix = freshPrefix();
      const [one, other] = ['', ''].map(() =>
        redisCoordinator({ ...patient, sentinel: { name: 'main', nodes: redis.nodes }, prefix }),
      );
      return { one: one!, other: other!, close: async () => void (await Promise.all([one!.close(), other!.close()])) };
    };
    for (const { name, run } of casesOf(coordinatorContract)) test(name, () => run(make));
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

  test('asks the other sentinels where one hangs, and goes on with the replica when the primary is gone', async () => {
    redis.freezeSentinel(0);
    const store = byName('failover');
    await store.set('key', 'before', { signal });
    const replicated = redisMetadata({ url: redis.replica.url, prefix: 'failover' });
    await expect.poll(() => replicated.get('key', { signal }), waiting).toMatchObject({ value: 'before' });
    await expect(replicated.set('key', 'x', { signal })).rejects.toThrow(/READONLY.*replica/);
    await replicated.close();

    redis.freezeSentinel(0);
    await redis.primary.kill();
    const read = () => store.get('key', { signal }).catch((error) => error);
    await expect.poll(read, waiting).toMatchObject({ value: 'before' });
    await expect.poll(() => store.set('key', 'after', { signal }).catch(() => false), waiting).toBe(true);
    expect(await store.list('', { limit: 2, signal })).toEqual(['key']);
    await store.close();
  });
});
