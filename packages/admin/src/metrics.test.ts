import { createProxyCache, memoryStorage, type ProxyCacheEvent, type ProxyCacheOptions } from '@proxycache/core';
import { startFakeUpstream } from '@proxycache/test-kit';
import * as client from 'prom-client';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createMetrics, type ObservedCache } from './metrics.ts';
import type { MetricsClient } from './metrics-client.ts';

async function startCache(key = 'up', options: Partial<ProxyCacheOptions> = {}) {
  const upstream = await startFakeUpstream();
  upstream.addImage('team/app', { tag: '1' });
  const cache = createProxyCache({
    upstreams: [{ key, url: upstream.url, retry: { attempts: 1 } }],
    storage: memoryStorage(),
    ...options,
  });
  onTestFinished(async () => {
    await cache.close({ graceMs: 0 });
    await upstream.stop();
  });
  return {
    upstream,
    cache,
    async get(path: string): Promise<number> {
      const answer = await cache.fetch(new Request(`http://cache${path}`));
      await answer.arrayBuffer();
      return answer.status;
    },
  };
}

/** A cache of which a test says what it tells. */
function toldCache(keys: string[]): { cache: ObservedCache; tell(event: ProxyCacheEvent): void } {
  const observers = new Set<(event: ProxyCacheEvent) => void>();
  return {
    tell: (event) => {
      for (const observer of observers) observer(event);
    },
    cache: {
      storedBytes: () => undefined,
      upstreams: { status: () => keys.map((key) => ({ key, mode: 'normal', state: 'closed', hosts: [] })) },
      observe(observer) {
        observers.add(observer);
        return () => observers.delete(observer);
      },
    },
  };
}

const lines = (text: string, start: string) => text.split('\n').filter((line) => line.startsWith(start));
const ended = {
  type: 'ingest-ended',
  repository: 'r',
  digest: 'sha256:1',
  outcome: 'stored',
  bytes: 1,
  durationMs: 1,
} as const;

describe('createMetrics', () => {
  test('says what to do where prom-client is missing, or is something else', async () => {
    const { cache } = await startCache();
    const make = (given: unknown) => () => createMetrics(cache, { client: given as MetricsClient });
    expect(make(undefined)).toThrow(
      'expected the module prom-client, received nothing; install it (npm install prom-client)',
    );
    expect(make({})).toThrow('received something else (object)');
    expect(() => createMetrics(cache, { client, prefix: 'my-' })).toThrow(
      'prefix: expected a name such as "proxycache_"',
    );
  });

  test('takes the module as CommonJS gives it, too', async () => {
    const { cache } = await startCache();
    const { default: asDefault } = client as unknown as { default: MetricsClient };
    expect(await createMetrics(cache, { client: asDefault, prefix: 'my_' }).text()).toContain(
      '# TYPE my_requests_total counter',
    );
  });

  test('tells a tag that its upstream found right from one that moved, and from one that was served stale', async () => {
    const { upstream, cache, get } = await startCache();
    const metrics = createMetrics(cache, { client });
    const path = '/v2/up/team/app/manifests/1';
    await get(path);
    for (let i = 0; i < 3; i++) await get(path);
    upstream.addImage('team/app', { tag: '1', seed: 'moved' });
    await get(path);
    await upstream.stop();
    await get(path);
    const requests = lines(await metrics.text(), 'proxycache_requests_total');
    const told = requests.map((line) => line.replace(/.*status="2xx",cache="([a-z]+)"} /, '$1 ')).sort();
    expect(told).toEqual(['miss 2', 'stale 1', 'validated 3']);
  });

  test('keeps two caches in one process apart', async () => {
    const [one, two] = [await startCache('one'), await startCache('two')];
    const [ofOne, ofTwo] = [createMetrics(one.cache, { client }), createMetrics(two.cache, { client })];
    await one.get('/v2/one/team/app/manifests/1');
    await two.get('/v2/two/team/app/manifests/1');
    await two.get('/v2/two/team/app/manifests/1');
    const requests = async (metrics: typeof ofOne) => lines(await metrics.text(), 'proxycache_requests_total');
    expect(await requests(ofOne)).toEqual([
      'proxycache_requests_total{upstream="one",kind="manifest",status="2xx",cache="miss"} 1',
    ]);
    expect((await requests(ofTwo)).every((line) => line.includes('"two"'))).toBe(true);
    expect(client.register.getMetricsAsArray()).toEqual([]);
  });

  test('can be read while the cache is closed, and after', async () => {
    const { cache, get } = await startCache();
    const metrics = createMetrics(cache, { client });
    await get('/v2/up/team/app/manifests/1');
    const closing = cache.close({ graceMs: 0 });
    const text = await metrics.text();
    await closing;
    expect(lines(text, 'proxycache_requests_total')).toHaveLength(1);
    await get('/v2/up/team/app/manifests/1');
    expect(lines(await metrics.text(), 'proxycache_requests_total')).toContain(
      'proxycache_requests_total{upstream="",kind="invalid",status="5xx",cache="none"} 1',
    );
    metrics.close();
    await get('/v2/up/team/app/manifests/1');
    expect(lines(await metrics.text(), 'proxycache_requests_total').join()).toContain('cache="none"} 1');
  });

  test('has no series more for whatever clients ask for', async () => {
    const { cache, get } = await startCache();
    const metrics = createMetrics(cache, { client });
    const ask = async (name: string) => {
      for (const path of [
        `up/${name}/manifests/${name}`,
        `${name}/x/manifests/1`,
        `up/${name}/blobs/sha256:${name}`,
        name,
      ]) {
        await get(`/v2/${path}?ns=${name}.example`);
      }
      await cache.fetch(new Request(`http://${name}.example/v2/up/${name}/tags/list`, { method: name.toUpperCase() }));
    };
    const count = async () => lines(await metrics.text(), 'proxycache_').length;
    await ask('aa');
    const before = await count();
    for (let i = 0; i < 50; i++) await ask(`b${i}`);
    expect(await count()).toBe(before);
    expect(await metrics.text()).not.toContain('b49');
  });

  test('counts what fails through a group at the key of the group, with no series more for whatever is asked', async () => {
    const { upstream, cache, get } = await startCache('up', { groups: [{ key: 'all', upstreams: ['up'] }] });
    const metrics = createMetrics(cache, { client });
    await upstream.stop();
    expect(await get('/v2/all/team/app/manifests/1')).toBe(502);
    const requests = async () => lines(await metrics.text(), 'proxycache_requests_total');
    const ofGroup = 'proxycache_requests_total{upstream="all",kind="manifest",status="5xx",cache="none"}';
    expect(await requests()).toEqual([`${ofGroup} 1`]);
    for (let i = 0; i < 20; i++) await get(`/v2/all/team/b${i}/manifests/b${i}`);
    expect(await requests()).toEqual([`${ofGroup} 21`]);
  });

  test('lets go of the series of an upstream that was removed, and counts one that is added in its place from nothing', async () => {
    const { cache, tell } = toldCache(['one']);
    const metrics = createMetrics(cache, { client });
    const ingests = async () => lines(await metrics.text(), 'proxycache_ingests_total');
    const change = (how: 'added' | 'removed') =>
      tell({ type: 'upstream-changed', upstream: 'two', change: how, origin: 'elsewhere' });
    for (const upstream of ['one', 'two']) tell({ ...ended, upstream });
    expect(await ingests()).toHaveLength(2);
    change('removed');
    expect(await ingests()).toEqual(['proxycache_ingests_total{upstream="one",outcome="stored"} 1']);
    // What was running when it was removed.
    tell({ ...ended, upstream: 'two' });
    expect(await ingests()).toHaveLength(1);
    tell({ ...ended, upstream: 'two' });
    change('removed');
    change('added');
    tell({ ...ended, upstream: 'two' });
    expect(await ingests()).toContain('proxycache_ingests_total{upstream="two",outcome="stored"} 1');
  });

  test('counts what ends that began before it no lower than nothing', async () => {
    const { cache, tell } = toldCache(['up']);
    const metrics = createMetrics(cache, { client });
    tell({ ...ended, upstream: 'up' } as ProxyCacheEvent);
    const started = { type: 'ingest-started', upstream: 'up', repository: 'r', digest: 'sha256:1' } as const;
    tell(started);
    expect(lines(await metrics.text(), 'proxycache_ingests_running')).toEqual([
      'proxycache_ingests_running{upstream="up"} 1',
    ]);
  });
});
