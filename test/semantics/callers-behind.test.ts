import { fileStorage, type ProxyCacheOptions, type UpstreamOptions } from '@proxycache/core';
import { type FakeUpstream, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startCache, startUpstream } from './cache-under-test.ts';
import { patient } from './patient.ts';
import type { RequestOptions } from './request.ts';

const MiB = 1024 * 1024;
const callerKey = 'tells the callers of these tests apart';
const passwordOf = (user: string) => `password-of-${user}`;
const as = (user: string): RequestOptions => ({
  headers: { authorization: `Basic ${Buffer.from(`${user}:${passwordOf(user)}`).toString('base64')}` },
});
const path = (kind: 'manifests' | 'blobs', reference: string) => `/v2/private/team/secret/${kind}/${reference}`;

/** An upstream whose `team/secret` is alice's and ann's, and not bob's. */
async function startWorld(
  options: Partial<UpstreamOptions> & { cache?: Partial<ProxyCacheOptions> } = {},
): Promise<{ upstream: FakeUpstream; cache: CacheUnderTest }> {
  const { cache: cacheOptions, ...more } = options;
  const of = (user: string, ...repositories: string[]) => ({ password: passwordOf(user), repositories });
  const users = { alice: of('alice', 'team/secret'), ann: of('ann', 'team/secret'), bob: of('bob', 'team/other') };
  const upstream = await startUpstream({ auth: { bearer: { public: [], users } } });
  const upstreams = [{ key: 'private', url: upstream.url, credentials: 'caller' as const, ...patient, ...more }];
  return { upstream, cache: await startCache({ upstreams, callerKey, ...cacheOptions }) };
}

/** What the cache still does for nobody may have to wait for a moment: it comes. */
async function comes<T>(cache: CacheUnderTest, look: () => T, wanted: T): Promise<void> {
  await expect
    .poll(
      async () => {
        await cache.clock.advance(100);
        return look();
      },
      { timeout: 15_000 },
    )
    .toEqual(wanted);
}

const outcomes = (cache: CacheUnderTest) => cache.seen('ingest-ended').map(({ outcome }) => outcome);

describe('what goes on for a caller who has left', () => {
  test('is a transfer to its end, with a new token of that caller where it breaks off', async () => {
    const { upstream, cache } = await startWorld();
    const bytes = Buffer.from(seededBytes('left', 4 * MiB));
    const digest = upstream.putBlob('team/secret', bytes);
    expect((await cache.get('/v2/', as('alice'))).status).toBe(200);
    upstream.script({ method: 'GET', path: /\/blobs\// }, [{ cutAfter: 2 * MiB, how: 'fin' }]);
    const leaving = new AbortController();
    await cache
      .get(path('blobs', digest), { ...as('alice'), signal: leaving.signal, begun: () => leaving.abort() })
      .catch(() => undefined);
    upstream.revokeTokens();
    await comes(cache, () => outcomes(cache), ['stored']);
    upstream.clear();
    expect((await cache.get(path('blobs', digest), as('alice'))).body.equals(bytes)).toBe(true);
    expect(upstream.requests).toEqual([]);
    expect((await cache.get(path('blobs', digest), as('bob'))).status).toBe(403);
  });

  test('is the validation of a tag that was served stale', async () => {
    const { upstream, cache } = await startWorld({ staleWhileRevalidateFor: '10m' });
    const first = upstream.addImage('team/secret', { tag: '1', seed: 'first' });
    await cache.get(path('manifests', '1'), as('alice'));
    const second = upstream.addImage('team/secret', { tag: '1', seed: 'second' });
    await cache.clock.advance(1_000);
    const tagged = async () => (await cache.get(path('manifests', '1'), as('alice'))).headers['docker-content-digest'];
    expect(await tagged()).toBe(first.root.digest);
    await expect.poll(tagged, { timeout: 15_000 }).toBe(second.root.digest);
    expect((await cache.get(path('manifests', '1'), as('bob'))).status).toBe(403);
  });

  test('is what was fetched ahead: proven for that caller, and for nobody else', async () => {
    const { upstream, cache } = await startWorld({ prefetch: 'layers' });
    const image = upstream.addImage('team/secret', { tag: '1' });
    await cache.get(path('manifests', '1'), as('alice'));
    const blobs = [image.config, ...image.layers];
    await comes(
      cache,
      () => outcomes(cache),
      blobs.map(() => 'stored'),
    );
    upstream.clear();
    for (const { digest } of blobs) expect((await cache.get(path('blobs', digest), as('alice'))).status).toBe(200);
    expect(upstream.requests).toEqual([]);
    for (const { digest } of blobs) expect((await cache.get(path('blobs', digest), as('bob'))).status).toBe(403);
    for (const { digest } of blobs) expect((await cache.get(path('blobs', digest), as('ann'))).status).toBe(200);
    expect(upstream.count({ method: 'GET', path: /\/blobs\// })).toBe(0);
  });
});

describe('what is remembered of a caller is of that one alone', () => {
  test('that a tag is fresh, and what is in memory of it', async () => {
    const { upstream, cache } = await startWorld({ freshFor: '30m' });
    const image = upstream.addImage('team/secret', { tag: '1' });
    const all = [path('manifests', '1'), path('manifests', image.root.digest), path('blobs', image.config.digest)];
    for (let i = 0; i < 3; i++) {
      for (const one of all) expect((await cache.get(one, as('alice'))).status).toBe(200);
    }
    upstream.clear();
    for (const one of all) expect((await cache.get(one, as('alice'))).headers['cache-status']).toBe('proxycache; hit');
    expect(upstream.requests).toEqual([]);
    for (const one of all) {
      for (const method of ['get', 'head'] as const) {
        expect((await cache[method](one, as('bob'))).status).toBe(403);
        expect((await cache[method](one)).status).toBe(401);
        expect((await cache[method](one, as('ann'))).status).toBe(200);
      }
    }
    expect(upstream.count({ method: 'HEAD', path: all[1]!.replace('/private', '') })).toBeGreaterThan(0);
  });

  test('that a tag is absent, or seems so', async () => {
    const { upstream, cache } = await startWorld({ absentFor: '1h', deniedMayMeanAbsent: true });
    upstream.addImage('team/secret', { tag: '1' });
    for (let i = 0; i < 2; i++) expect((await cache.get(path('manifests', '1'), as('bob'))).status).toBe(404);
    expect((await cache.get(path('manifests', '1'), as('alice'))).status).toBe(200);
    expect((await cache.get(path('manifests', '2'), as('alice'))).status).toBe(404);
    upstream.addImage('team/secret', { tag: '2' });
    expect((await cache.get(path('manifests', '2'), as('ann'))).status).toBe(200);
    expect((await cache.get(path('manifests', '2'), as('alice'))).status).toBe(404);
  });

  test('a limit of its rate', async () => {
    const { upstream, cache } = await startWorld();
    upstream.addImage('team/secret', { tag: '1' });
    await cache.get('/v2/', as('alice'));
    upstream.on({ path: /manifests/, times: 1 }, { status: 429, headers: { 'retry-after': '600' } });
    const before = upstream.count({ path: /manifests/ });
    for (let i = 0; i < 2; i++) expect((await cache.get(path('manifests', '1'), as('alice'))).status).toBe(429);
    expect(upstream.count({ path: /manifests/ })).toBe(before + 1);
    expect((await cache.get(path('manifests', '1'), as('ann'))).status).toBe(200);
  });

  test('a limit of the token service', async () => {
    const { upstream, cache } = await startWorld();
    upstream.addImage('team/secret', { tag: '1' });
    await cache.get('/v2/', as('alice'));
    upstream.on({ path: '/token', times: 1 }, { status: 429, headers: { 'retry-after': '600' } });
    expect((await cache.get(path('manifests', '1'), as('alice'))).status).toBe(429);
    expect((await cache.get(path('manifests', '1'), as('ann'))).status).toBe(200);
    expect((await cache.get(path('manifests', '1'), as('alice'))).status).toBe(429);
  });
});

test('what is known of a caller who pulls no more leaves by retention, and what others still pull stays', async () => {
  const day = 24 * 60 * 60_000;
  const { upstream, cache } = await startWorld({ cache: { retention: { every: false } } });
  const image = upstream.addImage('team/secret', { tag: '1' });
  const all = [
    path('manifests', '1'),
    path('manifests', image.root.digest),
    ...[image.config, ...image.layers].map(({ digest }) => path('blobs', digest)),
  ];
  const pull = async (user: string) => {
    for (const one of all) expect((await cache.get(one, as(user))).status).toBe(200);
  };
  /** How many callers there are records of. */
  const callers = async (kind: 'tag' | 'link') => {
    const { signal } = new AbortController();
    const keys = await fileStorage(cache.directory).metadata.list(`${kind}/private/`, { limit: 100, signal });
    return new Set(keys.map((key) => key.split('/')[2])).size;
  };
  await pull('alice');
  await pull('ann');
  await expect.poll(() => callers('link')).toBe(2);
  await cache.clock.advance(6 * day);
  await pull('alice');
  await cache.clock.advance(2 * day);
  expect((await cache.cache.sweep()).paused).toEqual([]);
  expect([await callers('tag'), await callers('link')]).toEqual([1, 1]);
  upstream.clear();
  await pull('alice');
  expect(upstream.count({ method: 'GET', path: /^\/v2\/team/ })).toBe(0);
  await cache.clock.advance(8 * day);
  expect((await cache.cache.sweep()).paused).toEqual([]);
  expect([await callers('tag'), await callers('link')]).toEqual([0, 0]);
});

test('retention of an upstream with callers pauses while it is away, as of any other', async () => {
  const day = 24 * 60 * 60_000;
  const { upstream, cache } = await startWorld({ cache: { retention: { every: false } } });
  upstream.addImage('team/secret', { tag: '1' });
  expect((await cache.get(path('manifests', '1'), as('alice'))).status).toBe(200);
  await cache.clock.advance(8 * day);
  await upstream.stop();
  expect(await cache.cache.sweep()).toMatchObject({ paused: ['private'], tags: 0 });
});

test('what a caller may read is in no catalog, and in no cache for all', async () => {
  const { upstream, cache } = await startWorld({ cache: { catalog: true, publicContent: true } });
  const image = upstream.addImage('team/secret', { tag: '1' });
  await cache.get(path('manifests', '1'), as('alice'));
  for (const [kind, digest] of [
    ['manifests', image.root.digest],
    ['blobs', image.config.digest],
  ] as const) {
    const got = await cache.get(path(kind, digest), as('alice'));
    expect([got.status, got.headers['cache-control']]).toEqual([200, expect.stringMatching(/^private/)]);
  }
  expect(JSON.parse((await cache.get('/v2/_catalog', as('alice'))).body.toString())).toEqual({ repositories: [] });
});

test('the host is told what it should know of an upstream with callers', async () => {
  const url = 'https://registry.example';
  const caller: UpstreamOptions = { key: 'private', url, credentials: 'caller' };
  const warnings = async (options: Omit<ProxyCacheOptions, 'storage'>) =>
    (await startCache(options)).seen('warning').map(({ message }) => message);
  expect(await warnings({ upstreams: [caller] })).toEqual([
    expect.stringMatching(/^callerKey is not set: .*"private"/),
  ]);
  const open = { key: 'open', url };
  expect(await warnings({ upstreams: [caller, open], callerKey })).toEqual([]);
  expect(await warnings({ upstreams: [caller, open], callerKey, defaultUpstream: 'open' })).toEqual([
    expect.stringMatching(/^docker and podman send no login to "private" here: .*"open" leaves open/),
  ]);
  const named = { ...caller, hosts: ['private.example'] };
  expect(await warnings({ upstreams: [named, open], callerKey, defaultUpstream: 'open' })).toEqual([]);
});
