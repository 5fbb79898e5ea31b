import { memoryStorage, type UpstreamOptions } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { startPair } from './cache-under-test.ts';

const path = '/v2/up/team/app/manifests/1';
const hour = 3_600_000;
const pulledAt = '2026-01-01T00:00:00.000Z';
const endless = Number.POSITIVE_INFINITY;

/** A cache that has tag 1, pulled at `pulledAt`. */
async function startStored(options: Partial<UpstreamOptions>) {
  const storage = memoryStorage();
  const { upstream, cache } = await startPair({
    linkValidFor: '1h',
    serveUnproven: true,
    ...options,
    cache: { storage },
  });
  upstream.addImage('team/app', { tag: '1' });
  expect((await cache.get(path)).status).toBe(200);
  upstream.clear();
  return { upstream, cache, storage };
}

describe.each<Partial<UpstreamOptions>>([
  {},
  { freshFor: '3h' },
  { freshFor: endless },
  { freshFor: '30m', staleWhileRevalidateFor: endless },
  { mode: 'local-first' },
])('a tag whose proof has expired, with %o', (options) => {
  test('17: is served while the upstream is down, with the age that it has', async () => {
    const { upstream, cache } = await startStored(options);
    await upstream.stop();
    await cache.clock.advance(2 * hour);
    const got = await cache.get(path);
    expect([got.status, got.headers['age']]).toEqual([200, '7200']);
    expect(got.headers['warning']).toBe(`299 - "stale: up is unavailable, last validated ${pulledAt}"`);
    const { tags } = await cache.cache.contents.tags({ upstream: 'up', repository: 'team/app' });
    expect(tags).toMatchObject([{ tag: '1', state: 'stale', validatedAt: Date.parse(pulledAt) }]);
  });

  test('13: is not fresh after a step back of the clock, and served while the upstream is down', async () => {
    const { upstream, cache } = await startStored(options);
    await upstream.stop();
    cache.clock.set(cache.clock.now() - hour);
    const got = await cache.get(path);
    expect([got.status, got.headers['age']]).toEqual([200, '0']);
    expect(got.headers['warning']).toBe(`299 - "stale: up is unavailable, last validated ${pulledAt}"`);
  });

  test('19: is asked about before it is served, and is proven then', async () => {
    const { upstream, cache } = await startStored(options);
    await cache.clock.advance(2 * hour);
    const got = await cache.get(path);
    expect([got.status, got.headers['age'], got.headers['warning']]).toEqual([200, '0', undefined]);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD']);
    await cache.cache.upstreams.update('up', { mode: 'local-first' });
    expect((await cache.get(path)).headers['cache-status']).toBe('proxycache; hit');
  });

  test("10: is served with onAbsent 'serve-stale' where it was removed, with the age that it has", async () => {
    const { upstream, cache, storage } = await startStored({ ...options, onAbsent: 'serve-stale' });
    await cache.clock.advance(2 * hour);
    upstream.removeTag('team/app', '1');
    const got = await cache.get(path);
    expect([got.status, got.headers['age']]).toEqual([200, '7200']);
    expect(got.headers['warning']).toBe(`299 - "stale: up has it no longer, last validated ${pulledAt}"`);
    const { signal } = new AbortController();
    const [key = ''] = await storage.metadata.list('tag/', { limit: 1, signal });
    const record = JSON.parse((await storage.metadata.get(key, { signal }))?.value ?? '');
    expect(Object.keys(record).sort()).toEqual(['absent', 'format', 'saidTo', 'stored', 'validatedAt', 'value']);
    expect(record.validatedAt).toBe(Date.parse(pulledAt));
  });
});
