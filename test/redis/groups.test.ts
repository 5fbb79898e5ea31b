import { createProxyCache, memoryStorage, type ProxyCache, type ProxyCacheEvent } from '@proxycache/core';
import { redisCoordinator, redisMetadata } from '@proxycache/redis';
import { type FakeUpstream, gate, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { requireProgram } from '../system.ts';
import { type RedisServer, startRedisServer } from './redis-server.ts';

const program = requireProgram('redis-server');
const waiting = { timeout: 20_000, interval: 20 };

describe.skipIf(program === undefined)('a group whose records are in Redis', () => {
  let server: RedisServer;
  let corp: FakeUpstream;
  let empty: FakeUpstream;
  let hub: FakeUpstream;
  let own: string;
  let close: (() => Promise<void>)[];
  let events: ProxyCacheEvent[];

  beforeEach(async () => {
    close = [];
    events = [];
    server = await startRedisServer(program!);
    [corp, empty, hub] = await Promise.all([startFakeUpstream(), startFakeUpstream(), startFakeUpstream()]);
    own = corp.addImage('app', { tag: '1', seed: 'corp' }).root.digest;
    hub.addImage('app', { tag: '1', seed: 'impostor' });
    hub.addImage('app', { tag: '2', seed: 'impostor of a tag' });
  });
  afterEach(async () => {
    await Promise.all(close.map((end) => end()));
    await Promise.all([corp, empty, hub].map((upstream) => upstream.stop()));
    await server.close();
  });

  /** One of several processes. @param at the private registry, as this one reaches it */
  function start(at = corp.url): ProxyCache {
    const options = { url: server.url, answerWithin: '1s' } as const;
    const [metadata, coordinator] = [redisMetadata(options), redisCoordinator(options)];
    const cache = createProxyCache({
      upstreams: [
        { key: 'corp', url: at, breaker: { failures: 1_000 } },
        { key: 'hub', url: hub.url },
      ],
      groups: [{ key: 'all', upstreams: ['corp', 'hub'] }],
      storage: { ...memoryStorage(), metadata, coordinator },
      observer: (event) => events.push(event),
    });
    close.push(async () => {
      await cache.close();
      await Promise.all([metadata.close(), coordinator.close()]);
    });
    return cache;
  }

  const ask = async (cache: ProxyCache, rest: string) => {
    const response = await cache.fetch(new Request(`http://cache/v2/all/app/${rest}`));
    await response.arrayBuffer();
    return { status: response.status, digest: response.headers.get('docker-content-digest') };
  };
  const ownerOf = async (cache: ProxyCache) => (await cache.groups.pins('all')).map(({ upstream }) => upstream);

  test('belongs to one member in every process, and lets go of it in every process', async () => {
    const [one, other] = [start(), start(empty.url)];
    expect(await ask(one, 'manifests/1')).toMatchObject({ status: 200, digest: own });
    // What that one has is asked for where this one reaches it, and nowhere else.
    expect((await ask(other, 'manifests/2')).status).toBe(404);
    expect(hub.requests).toEqual([]);
    expect(await one.groups.unpin('all', 'app')).toBe(true);
    await expect.poll(async () => (await ask(other, 'manifests/2')).status, waiting).toBe(200);
    expect(await ownerOf(one)).toEqual(['hub']);
  });

  test('that two processes find different owners of at once belongs to the first that wrote it down, for both', async () => {
    const [one, other] = [start(), start(empty.url)];
    const held = gate();
    hub.on({ method: 'HEAD', times: 1 }, { gate: held });
    const late = ask(other, 'manifests/1');
    await held.reached;
    expect(await ask(one, 'manifests/1')).toMatchObject({ status: 200, digest: own });
    held.open();
    expect((await late).status).toBe(404);
    expect(await ownerOf(other)).toEqual(['corp']);
    expect(hub.count({ method: 'GET' })).toBe(0);
  });

  test('serves nothing of a name that this process has not asked for while Redis is away, and what it has asked for', async () => {
    const one = start();
    expect(await ask(one, 'manifests/1')).toMatchObject({ status: 200, digest: own });
    const other = start();
    // It has a connection, and nothing of the name.
    expect(await ownerOf(other)).toEqual(['corp']);
    await server.stop();
    await corp.stop();
    for (const rest of ['manifests/1', 'manifests/2', 'tags/list']) {
      expect([rest, (await ask(other, rest)).status]).toEqual([rest, 503]);
    }
    const fresh = start();
    expect((await ask(fresh, 'manifests/1')).status).toBe(503);
    expect(await ask(one, 'manifests/1')).toMatchObject({ status: 200, digest: own });
    expect((await ask(one, 'manifests/2')).status).toBe(502);
    expect(hub.requests).toEqual([]);

    await Promise.all([server.start(), corp.start()]);
    await expect.poll(() => ask(other, 'manifests/1'), waiting).toMatchObject({ status: 200, digest: own });
    expect((await ask(other, 'manifests/2')).status).toBe(404);
    expect(hub.requests).toEqual([]);
  });

  test('is given no owner while Redis stands still: 503, and never the next member', async () => {
    const cache = start();
    await expect(cache.groups.pins('all')).resolves.toEqual([]);
    server.freeze();
    expect((await ask(cache, 'manifests/1')).status).toBe(503);
    server.thaw();
    await expect.poll(() => ask(cache, 'manifests/1'), waiting).toMatchObject({ status: 200, digest: own });
    expect(hub.requests).toEqual([]);
  });
});
