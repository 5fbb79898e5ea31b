import type { UpstreamOptions } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startPair } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

const at = { path: '/v2/up/team/app', tag: '1' };
const hour = 3_600_000;
const endless = Number.POSITIVE_INFINITY;

/** A cache that has all of tag 1, whose upstream is down then. */
async function startOutage(options: Partial<UpstreamOptions>): Promise<CacheUnderTest> {
  const { upstream, cache } = await startPair(options);
  const image = upstream.addImage('team/app', { tag: '1' });
  expect((await pullImage(cache, at)).status).toBe(200);
  await expect.poll(() => cache.seen('ingest-ended').length).toBe(image.layers.length + 1);
  await upstream.stop();
  return cache;
}

describe.each<Partial<UpstreamOptions>>([
  { freshFor: endless },
  { freshFor: endless, staleWhileRevalidateFor: endless },
  { freshFor: endless, staleIfErrorFor: 0 },
  { staleWhileRevalidateFor: endless },
])('while the upstream is down, with %o', (options) => {
  test('an image that is here whole is had', async () => {
    const { cache } = await startOutage(options);
    expect(await cache.has('up/team/app:1')).toBe(true);
  });

  test('30: the stored tags are listed', async () => {
    const cache = await startOutage(options);
    const tags = await cache.get('/v2/up/team/app/tags/list');
    expect([tags.status, JSON.parse(tags.body.toString())]).toEqual([200, { name: 'up/team/app', tags: ['1'] }]);
    expect(tags.headers['warning']).toBe('299 - "partial list: upstream unavailable"');
  });

  test('13: a tag from before a step back of the clock is served, said to be stale', async () => {
    const cache = await startOutage(options);
    cache.clock.set(cache.clock.now() - hour);
    const got = await cache.get('/v2/up/team/app/manifests/1');
    expect(got.status).toBe(200);
    expect(got.headers['warning']).toMatch(/^299 - "stale: up is unavailable, last validated 2026-/);
  });
});

test('9: a tag that is fresh without limit is never asked about again', async () => {
  const { upstream, cache } = await startPair({ freshFor: endless });
  upstream.addImage('team/app', { tag: '1' });
  await cache.get('/v2/up/team/app/manifests/1');
  upstream.clear();
  cache.clock.set(cache.clock.now() + 365 * 24 * hour);
  expect((await cache.get('/v2/up/team/app/manifests/1')).headers['cache-status']).toBe('proxycache; hit');
  expect(upstream.requests).toEqual([]);
});
