import type { UpstreamOptions } from '@proxycache/core';
import { chunkGate, type FakeUpstream } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startPair } from './cache-under-test.ts';
import { clientStyles, pullImage } from './pull-image.ts';
import type { Got } from './request.ts';

const byTag = '/v2/up/team/app/manifests/1';
const at = { path: '/v2/up/team/app', tag: '1' };
const day = 86_400_000;
const digestOf = (got: Got) => got.headers['docker-content-digest'];

/** A cache that has all of tag 1, whose upstream is then used in another mode. */
async function startStored(mode: UpstreamOptions['mode'], options: Parameters<typeof startPair>[0] = {}) {
  const { upstream, cache } = await startPair({ fake: { auth: { bearer: { public: ['team/app'] } } }, ...options });
  const image = upstream.addImage('team/app', { tag: '1' });
  const referrer = upstream.addReferrer('team/app', { subject: image.root, artifactType: 'application/signature' });
  await pullImage(cache, at);
  await cache.get(`/v2/up/team/app/referrers/${image.root.digest}`);
  await expect.poll(() => cache.seen('ingest-ended').length).toBe(image.layers.length + 1);
  await use(mode, { upstream, cache });
  return { upstream, cache, image, referrer };
}

/** Switches it while the cache runs. */
async function use(
  mode: UpstreamOptions['mode'],
  { upstream, cache }: { upstream: FakeUpstream; cache: CacheUnderTest },
): Promise<void> {
  await cache.cache.upstreams.update('up', { mode });
  upstream.clear();
}

const nothing = (upstream: FakeUpstream) => expect([upstream.requests, upstream.tokenCalls()]).toEqual([[], 0]);

describe('45: of an upstream that is offline', () => {
  test.each(clientStyles)('a stored image is pulled whole (%s), whatever its age, said to be stale', async (style) => {
    const { upstream, cache } = await startStored('offline', { staleIfErrorFor: '1h' });
    await cache.clock.advance(30 * day);
    const pulled = await pullImage(cache, at, style);
    expect(pulled.status).toBe(200);
    expect(pulled.first.headers['warning']).toMatch(/^299 - "stale: up is set to offline, last validated /);
    nothing(upstream);
  });

  test('a stored tag is said to be stale also where the upstream has just confirmed it', async () => {
    const { upstream, cache } = await startStored('offline', { freshFor: '1h' });
    for (const got of [await cache.get(byTag), await cache.head(byTag)]) {
      expect([got.status, got.headers['age']]).toEqual([200, '0']);
      expect(got.headers['warning']).toMatch(/^299 - "stale: up is set to offline, last validated /);
    }
    nothing(upstream);
  });

  test('what is not stored is 504, and says why', async () => {
    const { upstream, cache, image } = await startStored('offline');
    const absent = `sha256:${'0'.repeat(64)}`;
    for (const path of [
      '/v2/up/team/app/manifests/2',
      `/v2/up/team/app/manifests/${absent}`,
      `/v2/up/team/app/blobs/${absent}`,
      `/v2/up/other/app/blobs/${image.config.digest}`,
      '/v2/up/other/app/tags/list',
      `/v2/up/team/app/referrers/${absent}`,
    ]) {
      const got = await cache.get(path);
      expect([path, got.status, got.headers['retry-after']]).toEqual([path, 504, undefined]);
      expect(got.body.toString()).toContain('up is set to offline: ');
      expect((await cache.head(path)).status).toBe(504);
    }
    nothing(upstream);
    expect(cache.seen('upstream-request').filter(({ error }) => error !== undefined)).toEqual([]);
  });

  test('tags and referrers are listed from what is stored', async () => {
    const { upstream, cache, image, referrer } = await startStored('offline');
    const tags = await cache.get('/v2/up/team/app/tags/list');
    expect([tags.status, JSON.parse(tags.body.toString()).tags]).toEqual([200, ['1']]);
    expect(tags.headers['warning']).toContain('partial list');
    const referrers = await cache.get(`/v2/up/team/app/referrers/${image.root.digest}`);
    const digests = JSON.parse(referrers.body.toString()).manifests.map(({ digest }: { digest: string }) => digest);
    expect([referrers.status, digests]).toEqual([200, [referrer.digest]]);
    nothing(upstream);
  });

  test('a tag that it said it has no longer stays away', async () => {
    const { upstream, cache } = await startStored(undefined, { absentFor: '1h' });
    upstream.removeTag('team/app', '1');
    expect((await cache.get(byTag)).status).toBe(404);
    await use('offline', { upstream, cache });
    expect((await cache.get(byTag)).status).toBe(404);
    await cache.clock.advance(day);
    expect((await cache.get(byTag)).status).toBe(504);
    nothing(upstream);
  });

  test('nothing is asked in the background either: no validation, no fetching ahead, no sweep', async () => {
    const options = { staleWhileRevalidateFor: '1d', prefetch: 'layers' } as const;
    const { upstream, cache } = await startStored('offline', options);
    await cache.clock.advance(1_000);
    expect((await cache.get(byTag)).status).toBe(200);
    await cache.clock.advance(30 * day);
    await cache.cache.sweep();
    expect(cache.seen('sweep-paused').map(({ upstream: key }) => key)).toContain('up');
    expect((await pullImage(cache, at)).status).toBe(200);
    nothing(upstream);
  });

  test('its status says so, and a check asks it nothing', async () => {
    const { upstream, cache } = await startStored('offline');
    const message = 'up is set to offline: a check asks it nothing either; change its mode first';
    expect(await cache.cache.upstreams.check('up')).toMatchObject({
      ok: false,
      endpoints: [{ reason: 'offline', message }],
    });
    nothing(upstream);
    expect(cache.cache.upstreams.status()).toMatchObject([{ key: 'up', mode: 'offline', state: 'closed' }]);
  });
});

describe('45: of a local-first upstream', () => {
  test.each(clientStyles)('a stored image is pulled whole (%s) without a question, whatever its age', async (style) => {
    const { upstream, cache } = await startStored('local-first');
    upstream.addImage('team/app', { tag: '1', seed: 'another' });
    await cache.clock.advance(30 * day);
    const pulled = await pullImage(cache, at, style);
    expect([pulled.status, pulled.first.headers['warning']]).toEqual([200, undefined]);
    expect(pulled.first.headers['age']).toBe(String(30 * 86_400));
    nothing(upstream);
  });

  test('referrers that are stored are not asked for again', async () => {
    const { upstream, cache, image } = await startStored('local-first');
    await cache.clock.advance(day);
    expect((await cache.get(`/v2/up/team/app/referrers/${image.root.digest}`)).status).toBe(200);
    nothing(upstream);
  });

  test('what is not stored is asked for, once', async () => {
    const { upstream, cache } = await startStored('local-first');
    upstream.addImage('team/app', { tag: '2', seed: 'another' });
    expect((await pullImage(cache, { ...at, tag: '2' })).status).toBe(200);
    expect(upstream.count({ path: /\/manifests\// })).toBeGreaterThan(0);
    await expect.poll(() => cache.seen('ingest-ended').length).toBeGreaterThan(3);
    upstream.clear();
    await cache.clock.advance(day);
    expect((await pullImage(cache, { ...at, tag: '2' })).status).toBe(200);
    nothing(upstream);
  });

  test('what was said under another URL has to be said again first', async () => {
    const { upstream, cache } = await startStored(undefined);
    await cache.restart({ upstreams: [{ key: 'up', url: `${upstream.url}/`, mode: 'local-first' }] });
    upstream.clear();
    expect((await cache.get(byTag)).status).toBe(200);
    expect(upstream.requests.length).toBeGreaterThan(0);
  });
});

describe('45: a mode that is switched while the cache runs', () => {
  const another = (seed: string) => ({ tag: '1', seed });

  test('holds from the next request on, and back again', async () => {
    const { upstream, cache } = await startStored('offline');
    const first = digestOf(await cache.get(byTag));
    const changed = upstream.addImage('team/app', another('two'));
    for (const mode of ['offline', 'local-first', 'offline'] as const) {
      await use(mode, { upstream, cache });
      expect(digestOf(await cache.get(byTag))).toBe(first);
      nothing(upstream);
    }
    await use('normal', { upstream, cache });
    const got = await cache.get(byTag);
    expect([digestOf(got), got.headers['warning']]).toEqual([changed.root.digest, undefined]);
    expect(upstream.requests.length).toBeGreaterThan(0);
  });

  test('also where the cache begins with it', async () => {
    const { upstream, cache } = await startStored(undefined);
    await cache.restart({ upstreams: [{ key: 'up', url: upstream.url, mode: 'offline' }] });
    upstream.clear();
    expect((await pullImage(cache, at)).status).toBe(200);
    nothing(upstream);
    await cache.cache.upstreams.update('up', { mode: undefined });
    expect((await cache.get(byTag)).headers['warning']).toBeUndefined();
    expect(upstream.requests.length).toBeGreaterThan(0);
  });

  test('ends what waits for a connection; a body that comes in comes in', async () => {
    const limits = { maxConnections: 1 };
    const { upstream, cache } = await startStored(undefined, { limits });
    const { layers } = upstream.addImage('team/app', { tag: '2', layerSizes: [3_000_000, 2_000_000], seed: 'large' });
    const [running, waiting] = layers.map(({ digest }) => `/v2/up/team/app/blobs/${digest}`) as [string, string];
    const chunks = chunkGate(1_000_000);
    upstream.on({ path: new RegExp(layers[0]?.digest ?? '') }, { throttle: chunks });
    upstream.clear();
    const whole = cache.get(running);
    await expect.poll(() => upstream.requests.length).toBe(1);
    chunks.allow();
    const queued = cache.get(waiting);
    await expect
      .poll(() => cache.seen('ingest-started').filter(({ digest }) => waiting.endsWith(digest)))
      .toHaveLength(1);
    await use('offline', { upstream, cache });
    chunks.open();
    expect((await whole).body).toHaveLength(3_000_000);
    expect((await queued).status).toBe(504);
    nothing(upstream);
  });

  test('sends nothing while pulls of all kinds go on', async () => {
    const { upstream, cache, image } = await startStored('normal', {
      prefetch: 'layers',
      staleWhileRevalidateFor: '1h',
    });
    const paths = [
      byTag,
      `/v2/up/team/app/referrers/${image.root.digest}`,
      '/v2/up/team/app/tags/list',
      '/v2/up/no/tags/list',
    ];
    for (let round = 0; round < 3; round++) {
      await use('normal', { upstream, cache });
      await Promise.all(paths.map((path) => cache.get(path)));
      await use('offline', { upstream, cache });
      // What had left before is not recalled: it is over when it is answered.
      await cache.clock.advance(10_000);
      upstream.clear();
      await Promise.all([...paths, ...paths].map((path) => cache.get(path)));
      await cache.clock.advance(60_000);
      nothing(upstream);
    }
  });
});
