import {
  createProxyCache,
  type Duration,
  digestOf,
  fileStorage,
  type ProxyCache,
  type ProxyCacheEvent,
} from '@proxycache/core';
import { type RedisMetadata, redisMetadata } from '@proxycache/redis';
import { type AddedImage, type FakeUpstream, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { requireProgram } from '../system.ts';
import { type RedisServer, startRedisServer } from './redis-server.ts';

const program = requireProgram('redis-server');
const waiting = { timeout: 15_000, interval: 20 };

describe.skipIf(program === undefined)('pulls with metadata in Redis', () => {
  let server: RedisServer;
  let upstream: FakeUpstream;
  let image: AddedImage;
  let folder: string;
  let events: ProxyCacheEvent[];
  const replicas: { cache: ProxyCache; metadata: RedisMetadata }[] = [];

  beforeEach(async () => {
    server = await startRedisServer(program!);
    upstream = await startFakeUpstream();
    image = upstream.addImage('team/app', { tag: '1', layerSizes: [300_000, 1_000] });
    folder = makeTemporaryFolder('pulls');
    events = [];
  });
  afterEach(async () => {
    for (const { cache, metadata } of replicas.splice(0)) {
      await cache.close();
      await metadata.close();
    }
    await upstream?.stop();
    await server?.close();
    removeFolder(folder);
  });

  let answerWithin: Duration;

  /** A cache of a process of its own, as far as it can tell. All share the blobs. */
  function startReplica(): ProxyCache {
    const metadata = redisMetadata({ url: server.url, answerWithin });
    const cache = createProxyCache({
      upstreams: [{ key: 'up', url: upstream.url, freshFor: '1h' }],
      storage: { ...fileStorage(folder), metadata },
      observer: (event) => events.push(event),
    });
    replicas.push({ cache, metadata });
    return cache;
  }

  async function pull(cache: ProxyCache, { root, blobs }: AddedImage, tag: string): Promise<void> {
    const get = async (path: string) => {
      const response = await cache.fetch(new Request(`http://cache/v2/up/team/app/${path}`));
      return [response.status, digestOf(Buffer.from(await response.arrayBuffer()))];
    };
    expect(await get(`manifests/${tag}`)).toEqual([200, root.digest]);
    for (const { digest } of blobs) expect(await get(`blobs/${digest}`)).toEqual([200, digest]);
  }

  const failures = () => events.filter(({ type }) => type === 'store-failed');

  test('a replica serves what another validated and stored, and asks the upstream nothing', async () => {
    answerWithin = '20s';
    await pull(startReplica(), image, '1');
    const asked = upstream.requests.length;
    await pull(startReplica(), image, '1');
    expect(upstream.requests.length).toBe(asked);
    expect(failures()).toEqual([]);
  });

  test.each(['kill', 'freeze'] as const)('no pull fails after a %s, and an event says so', async (how) => {
    answerWithin = '1s';
    const cache = startReplica();
    await pull(cache, image, '1');
    await server[how]();
    await pull(cache, image, '1');
    await pull(cache, upstream.addImage('team/app', { tag: '2', layerSizes: [200_000] }), '2');
    // One that knows nothing of its own has the blobs and the upstream.
    const cold = startReplica();
    await pull(cold, image, '1');
    expect(failures()).not.toEqual([]);
    expect(JSON.stringify(failures())).toMatch(/Redis \(127\.0\.0\.1:\d+\) (is away|did not answer)/);

    // With the upstream gone as well, what the process holds is served.
    await upstream.stop();
    await pull(cache, image, '1');
    await pull(cold, image, '1');

    if (how === 'freeze') server.thaw();
    else await server.start();
    const other = redisMetadata({ url: server.url });
    const { signal } = new AbortController();
    const listed = () => other.list('tag/up/', { limit: 10, signal }).catch(() => []);
    // What was learnt meanwhile is written when Redis is back.
    await expect.poll(async () => (await listed()).map((key) => key.split('/').at(-1)), waiting).toEqual(['1', '2']);
    await other.close();
    await pull(startReplica(), image, '1');
  });
});
