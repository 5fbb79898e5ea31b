import { createProxyCache, memoryStorage, type ProxyCache, type ProxyCacheEvent } from '@proxycache/core';
import { redisCoordinator, redisMetadata } from '@proxycache/redis';
import { type FakeUpstream, gate, type ManualClock, manualClock, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { requireProgram } from '../system.ts';
import { type RedisServer, startRedisServer } from './redis-server.ts';

const program = requireProgram('redis-server');
const waiting = { timeout: 20_000, interval: 20 };

describe.skipIf(program === undefined)('tags of processes that share a Redis', () => {
  let server: RedisServer;
  let upstream: FakeUpstream;
  let digest: string;
  let walls: ManualClock;
  let caches: ProxyCache[];
  let events: ProxyCacheEvent[];
  let close: (() => Promise<void>)[];

  beforeEach(async () => {
    server = await startRedisServer(program!);
    upstream = await startFakeUpstream();
    digest = upstream.addImage('team/app', { tag: '1' }).root.digest;
    walls = manualClock();
    events = [];
    close = [];
    const blobs = memoryStorage();
    caches = Array.from({ length: 4 }, () => {
      const options = { url: server.url, answerWithin: '1s' } as const;
      const [metadata, coordinator] = [redisMetadata(options), redisCoordinator(options)];
      const cache = createProxyCache({
        upstreams: [{ key: 'up', url: upstream.url, freshFor: '1m', validateWithin: '1m' }],
        storage: { ...blobs, metadata, coordinator },
        // Real time but for the wall, so that a record becomes stale when a test says so.
        clock: { ...realTime, now: () => walls.now() },
        observer: (event) => events.push(event),
      });
      close.push(async () => {
        await cache.close();
        await Promise.all([metadata.close(), coordinator.close()]);
      });
      return cache;
    });
  });
  afterEach(async () => {
    await Promise.all(close.map((end) => end()));
    await upstream.stop();
    await server.close();
  });

  const realTime = {
    monotonic: () => performance.now(),
    after(ms: number, fn: () => void) {
      const timer = setTimeout(fn, ms + 2);
      return () => clearTimeout(timer);
    },
  };

  const ask = async (cache: ProxyCache) => {
    const response = await cache.fetch(new Request('http://cache/v2/up/team/app/manifests/1'));
    await response.arrayBuffer();
    return response.headers.get('docker-content-digest');
  };
  const failures = () => events.filter(({ type }) => type === 'store-failed' || type === 'coordinator-failed');
  const methods = () => upstream.requests.map(({ method }) => method);

  test('are fetched once and validated once, also when all are asked at the same instant', async () => {
    expect(await Promise.all(caches.map(ask))).toEqual([digest, digest, digest, digest]);
    expect(methods()).toEqual(['GET']);
    walls.set(walls.now() + 60_000);
    upstream.clear();
    const held = gate();
    upstream.on({ method: 'HEAD' }, { gate: held });
    const answers = Promise.all(caches.map(ask));
    await held.reached;
    held.open();
    expect(await answers).toEqual([digest, digest, digest, digest]);
    expect(methods()).toEqual(['HEAD']);
    expect(failures()).toEqual([]);
  });

  test('are each asked for by themselves while Redis stands still, and shared again when it is back', async () => {
    for (const cache of caches) await ask(cache);
    walls.set(walls.now() + 60_000);
    upstream.clear();
    server.freeze();
    expect(await Promise.all(caches.map(ask))).toEqual([digest, digest, digest, digest]);
    expect(methods()).toEqual(['HEAD', 'HEAD', 'HEAD', 'HEAD']);
    expect(failures().some(({ type }) => type === 'coordinator-failed')).toBe(true);
    server.thaw();
    await expect
      .poll(async () => {
        walls.set(walls.now() + 60_000);
        upstream.clear();
        await Promise.all(caches.map(ask));
        return methods();
      }, waiting)
      .toEqual(['HEAD']);
  });
});
