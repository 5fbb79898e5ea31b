import { setMaxListeners } from 'node:events';
import { createCluster } from '@keyv/redis';
import { casesOf, coordinatorContract, metadataStoreContract } from '@proxycache/contract';
import { redisCoordinator, redisMetadata } from '@proxycache/redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requireProgram } from '../system.ts';
import { type RedisCluster, startRedisCluster } from './redis-cluster.ts';
import { tellRedis } from './redis-server.ts';

const program = requireProgram('redis-server');
const { signal } = new AbortController();
setMaxListeners(0, signal);
/** A machine under load stops all of its processes for a while. */
const patient = { answerWithin: '10s' } as const;
const waiting = { timeout: 15_000, interval: 20 };
const keys = Array.from({ length: 60 }, (_, at) => `tag/${String(at).padStart(2, '0')}`);

describe.skipIf(program === undefined)('metadata in a Redis cluster', () => {
  let redis: RedisCluster;
  let prefixes = 0;
  const freshPrefix = () => `contract-${prefixes++}`;

  beforeAll(async () => {
    redis = await startRedisCluster(program!);
  });
  afterAll(() => redis?.close());

  const storeIn = (prefix: string, nodes = redis.nodes) => redisMetadata({ ...patient, cluster: { nodes }, prefix });

  describe('by addresses', () => {
    const make = async () => {
      const store = storeIn(freshPrefix());
      return { store, close: store.close };
    };
    for (const { name, run } of casesOf(metadataStoreContract)) test(name, () => run(make));
  });

  describe('and a coordinator', () => {
    const make = async () => {
      const prefix = freshPrefix();
      const [one, other] = ['', ''].map(() =>
        redisCoordinator({ ...patient, cluster: { nodes: redis.nodes }, prefix }),
      );
      return { one: one!, other: other!, close: async () => void (await Promise.all([one!.close(), other!.close()])) };
    };
    for (const { name, run } of casesOf(coordinatorContract)) test(name, () => run(make));
  });

  test("takes the host's cluster client", async () => {
    const rootNodes = redis.nodes.map((node) => ({ url: `redis://${node}` }));
    const client = await createCluster({ rootNodes }).connect();
    const store = redisMetadata({ client, prefix: 'host' });
    await Promise.all(keys.map((key) => store.set(key, key, { signal })));
    expect(await store.list('', { limit: 100, signal })).toEqual(keys);
    expect((await store.getMany(keys, { signal })).map((entry) => entry?.value)).toEqual(keys);
    client.destroy();
  });

  test('spreads its keys over the servers, and finds all of them by the address of any', async () => {
    const store = storeIn('spread', [redis.nodes[1]!]);
    await Promise.all(keys.map((key) => store.set(key, key, { signal })));
    for (const { port } of redis.primaries) {
      const held = (await tellRedis(port, 'KEYS', 'spread::*tag/*')) as string[];
      expect(held.length).toBeGreaterThan(5);
    }
    expect(await store.list('tag/', { limit: 100, signal })).toEqual(keys);
    await store.close();
  });

  test('follows a slot that moves to another server, also half-way', async () => {
    const [from, to] = [redis.primaries[1]!.port, redis.primaries[2]!.port];
    const store = storeIn('moving');
    await Promise.all(keys.map((key) => store.set(key, '1', { signal })));
    const [name] = (await tellRedis(from, 'KEYS', 'moving::*tag/*')) as string[];
    const slot = String(await tellRedis(from, 'CLUSTER', 'KEYSLOT', name!));
    const [source, target] = [await tellRedis(from, 'CLUSTER', 'MYID'), await tellRedis(to, 'CLUSTER', 'MYID')].map(
      String,
    );
    await tellRedis(to, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', source!);
    await tellRedis(from, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', target!);
    const moving = (await tellRedis(from, 'CLUSTER', 'GETKEYSINSLOT', slot, '1000')) as string[];
    await tellRedis(from, 'MIGRATE', '127.0.0.1', String(to), '', '0', '5000', 'KEYS', ...moving);
    const readAll = async () => (await store.getMany(keys, { signal })).map((entry) => entry?.value);
    const key = name!.slice(name!.indexOf('}') + 1);
    expect(await store.get(key, { signal })).toMatchObject({ value: '1' });
    expect(await store.set(key, '2', { signal })).toBe(true);
    for (const { port } of redis.primaries) await tellRedis(port, 'CLUSTER', 'SETSLOT', slot, 'NODE', target!);
    expect(await readAll()).toEqual(keys.map((one) => (one === key ? '2' : '1')));
    expect(await store.list('', { limit: 100, signal })).toEqual(keys);
    await store.close();
  });

  test('a write failed while the record had moved to another server and its index had not', async () => {
    const [from, to] = [redis.primaries[0]!.port, redis.primaries[1]!.port];
    const store = storeIn('halfway');
    await Promise.all(keys.map((key) => store.set(key, '1', { signal })));
    const [name] = (await tellRedis(from, 'KEYS', 'halfway::*tag/*')) as string[];
    const key = name!.slice(name!.indexOf('}') + 1);
    const slot = String(await tellRedis(from, 'CLUSTER', 'KEYSLOT', name!));
    const [source, target] = [await tellRedis(from, 'CLUSTER', 'MYID'), await tellRedis(to, 'CLUSTER', 'MYID')].map(
      String,
    );
    await tellRedis(to, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', source!);
    await tellRedis(from, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', target!);
    const move = (names: readonly string[]) =>
      tellRedis(from, 'MIGRATE', '127.0.0.1', String(to), '', '0', '5000', 'KEYS', ...names);
    await move([name!]);
    const failures = async () =>
      /errorstat_TRYAGAIN:count=(\d+)/.exec(String(await tellRedis(from, 'INFO', 'errorstats')))?.[1];
    const writing = store.set(key, '2', { signal });
    await expect.poll(async () => Number(await failures()), waiting).toBeGreaterThan(2);
    await move((await tellRedis(from, 'CLUSTER', 'GETKEYSINSLOT', slot, '1000')) as string[]);
    expect(await writing).toBe(true);
    for (const { port } of redis.primaries) await tellRedis(port, 'CLUSTER', 'SETSLOT', slot, 'NODE', target!);
    expect(await store.get(key, { signal })).toMatchObject({ value: '2' });
    expect(await store.list('', { limit: 100, signal })).toEqual(keys);
    await store.close();
  });

  test('waits once for a server that stands still, and not for what the others have', async () => {
    const frozen = redis.primaries[2]!;
    const store = redisMetadata({ answerWithin: '2s', cluster: { nodes: redis.nodes }, prefix: 'frozen' });
    const write = () => Promise.all(keys.map((key) => store.set(key, '1', { signal }))).catch(() => []);
    await expect.poll(write, waiting).toEqual(keys.map(() => true));
    const held = new Set(
      ((await tellRedis(frozen.port, 'KEYS', 'frozen::*tag/*')) as string[]).map((name) => name.split('}')[1]),
    );
    const [there, elsewhere] = [keys.filter((key) => held.has(key)), keys.filter((key) => !held.has(key))];
    const readAll = (some: readonly string[]) => Promise.allSettled(some.map((key) => store.get(key, { signal })));

    frozen.freeze();
    const failures = (await readAll(there)).map((one) => (one.status === 'rejected' ? String(one.reason) : 'read'));
    expect(failures.filter((failure) => !/did not answer|is away|Disconnects client/.test(failure))).toEqual([]);
    // The others serve, and nobody waits for this one any more.
    expect((await readAll(elsewhere)).filter(({ status }) => status === 'rejected')).toEqual([]);
    await expect(store.get(there[0]!, { signal })).rejects.toThrow('is away');
    frozen.thaw();
    const back = async () => (await readAll(keys)).every(({ status }) => status === 'fulfilled');
    await expect.poll(back, waiting).toBe(true);
    await store.close();
  });

  test('serves what the others have while one is gone, and all of it when its replica took over', async () => {
    const store = storeIn('failover');
    await Promise.all(keys.map((key) => store.set(key, '1', { signal })));
    const [first] = redis.primaries;
    const held = ((await tellRedis(first!.port, 'KEYS', 'failover::*tag/*')) as string[]).length;
    const replicated = async () =>
      ((await tellRedis(redis.replica.port, 'KEYS', 'failover::*tag/*')) as string[]).length;
    await expect.poll(replicated, waiting).toBe(held);

    await first!.kill();
    const outcomes = () =>
      Promise.all(
        keys.map((key) =>
          store.get(key, { signal }).then(
            (entry) => entry?.value,
            (error) => error.code,
          ),
        ),
      );
    const during = await outcomes();
    expect(during.filter((outcome) => outcome === '1')).toHaveLength(keys.length - held);
    expect(during.filter((outcome) => outcome === 'storage-failed')).toHaveLength(held);

    await expect.poll(outcomes, waiting).toEqual(keys.map(() => '1'));
    const write = () => Promise.all(keys.map((key) => store.set(key, '2', { signal }))).catch(() => []);
    await expect.poll(write, waiting).toEqual(keys.map(() => true));
    await store.close();
  });
});
