import type { UpstreamOptions } from '@proxycache/core';
import { type FakeHost, type FakeUpstream, startFakeCdn } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type CacheUnderTest, startCache, startPair, startUpstream } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';
import type { Got } from './request.ts';
import { startTokenHost } from './upstream-kinds.ts';

const byTag = '/v2/up/team/app/manifests/1';
const at = { path: '/v2/up/team/app', tag: '1' };
const manifests = { path: /\/manifests\// };
const warning = (got: Got) => got.headers['warning'];
const isStale = (got: Got) => got.status === 200 && /^299 - "stale: /.test(warning(got) ?? '');
const stateOf = (cache: CacheUnderTest) => cache.cache.upstreams.status()[0]!.state;

/** Moves the clock on until an answer is here, slowly enough for sockets and files to keep up. */
async function patiently<T>(cache: CacheUnderTest, answer: Promise<T>): Promise<{ got: T; afterMs: number }> {
  const from = cache.clock.monotonic();
  let afterMs: number | undefined;
  const measured = answer.finally(() => {
    afterMs = cache.clock.monotonic() - from;
  });
  measured.catch(() => undefined);
  while (afterMs === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    await cache.clock.advance(10);
  }
  return { got: await measured, afterMs };
}

/** A cache that has tag 1, in front of a registry that takes requests and answers none. */
async function startBlackholed(options: Parameters<typeof startPair>[0] = {}) {
  const { upstream, cache } = await startPair(options);
  const image = upstream.addImage('team/app', { tag: '1' });
  upstream.addReferrer('team/app', { subject: image.root, artifactType: 'application/signature' });
  await pullImage(cache, at);
  await cache.get(`/v2/up/team/app/referrers/${image.root.digest}`);
  upstream.on({}, { hang: true });
  upstream.clear();
  return { upstream, cache, image };
}

/** Pulls the stored tag until its registry is left alone. */
async function untilOpen(cache: CacheUnderTest, path = byTag): Promise<void> {
  while (stateOf(cache) === 'closed') await patiently(cache, cache.get(path));
}

describe('32: a registry that takes requests and answers none', () => {
  test('costs the first pulls of stored tags validateWithin each, and later ones nothing, not even a connection', async () => {
    const { upstream, cache } = await startBlackholed();
    const pulled = cache.seen('request').length;
    for (let i = 0; i < 3; i++) {
      const waiting = cache.get(byTag);
      await expect.poll(() => upstream.requests.length).toBe(i + 1);
      await cache.clock.advance(1_999);
      expect(cache.seen('request').filter(({ status }) => status === 200)).toHaveLength(pulled + i);
      await cache.clock.advance(1);
      expect(isStale(await waiting)).toBe(true);
    }
    const [before, asked] = [upstream.connections().accepted, upstream.requests.length];
    // The clock stands still: whoever waited for anything would wait for ever.
    for (let i = 0; i < 20; i++) expect(isStale(await cache.get(byTag))).toBe(true);
    expect([upstream.connections().accepted, upstream.requests.length]).toEqual([before, asked]);
    expect(cache.seen('breaker-changed')).toEqual([
      { type: 'breaker-changed', upstream: 'up', host: upstream.host, state: 'open', retryAt: expect.any(Number) },
    ]);
  });

  test('lets what is not stored wait for manifestWithin, and once that was in vain, too, fails it at once with 503', async () => {
    const { upstream, cache } = await startBlackholed({ breaker: { openFor: '60s' } });
    await untilOpen(cache);
    const miss = '/v2/up/team/app/manifests/2';
    for (let i = 0; i < 3; i++) {
      upstream.clear();
      const waiting = cache.get(miss);
      await expect.poll(() => upstream.requests.length).toBe(1);
      await cache.clock.advance(10_000);
      expect((await waiting).status).toBe(504);
    }
    upstream.clear();
    const { got, afterMs: none } = await patiently(cache, cache.get(miss));
    expect([got.status, got.errorCode, none < 1_000]).toEqual([503, 'UNAVAILABLE', true]);
    const seconds = Number(got.headers['retry-after']);
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(60);
    expect(JSON.parse(got.body.toString()).errors[0].detail).toEqual({ upstream: 'up', reason: 'unavailable' });
    expect(got.body.toString()).not.toContain(upstream.host);
    expect(upstream.requests).toEqual([]);
  });

  test('is tried again by the pulls of stored tags alone, of which none waits for that', async () => {
    const { upstream, cache } = await startBlackholed();
    await untilOpen(cache);
    for (const openFor of [2_000, 4_000]) {
      await cache.clock.advance(openFor - 1);
      upstream.clear();
      expect([isStale(await cache.get(byTag)), upstream.requests.length]).toEqual([true, 0]);
      await cache.clock.advance(1);
      expect(stateOf(cache)).toBe('half-open');
      for (let i = 0; i < 5; i++) expect(isStale(await cache.get(byTag))).toBe(true);
      await expect.poll(() => upstream.requests.length).toBe(1);
      await cache.clock.advance(2_000);
      expect(stateOf(cache)).toBe('open');
    }
  });

  test('and is back: the next pull finds that out, the one after it is answered as ever', async () => {
    const { upstream, cache } = await startBlackholed();
    await untilOpen(cache);
    upstream.heal();
    const changed = upstream.addImage('team/app', { tag: '1', seed: 'new' });
    await cache.clock.advance(2_000);
    expect(isStale(await cache.get(byTag))).toBe(true);
    await expect.poll(() => stateOf(cache)).toBe('closed');
    const got = await cache.get(byTag);
    expect([got.headers['docker-content-digest'], warning(got)]).toEqual([changed.root.digest, undefined]);
    expect(cache.seen('breaker-changed').map(({ state }) => state)).toEqual(['open', 'half-open', 'closed']);
  });

  test('and is back: what is not stored finds that out, too', async () => {
    const { upstream, cache } = await startBlackholed();
    await untilOpen(cache);
    upstream.heal();
    upstream.addImage('team/app', { tag: '2' });
    await cache.clock.advance(2_000);
    const { got } = await patiently(cache, cache.get('/v2/up/team/app/manifests/2'));
    expect([got.status, warning(got), stateOf(cache)]).toEqual([200, undefined, 'closed']);
  });

  test('has stored referrers answered at once, too, also while it is tried', async () => {
    const { upstream, cache, image } = await startBlackholed();
    await untilOpen(cache);
    const referrers = `/v2/up/team/app/referrers/${image.root.digest}`;
    expect(isStale(await cache.get(referrers))).toBe(true);
    await cache.clock.advance(2_000);
    upstream.clear();
    expect(isStale(await cache.get(referrers))).toBe(true);
    await expect.poll(() => upstream.requests.length).toBe(1);
    expect(isStale(await cache.get(referrers))).toBe(true);
  });

  test('has the list of stored tags given at once, and after validateWithin while it is tried', async () => {
    const { upstream, cache } = await startBlackholed({ breaker: { openFor: '60s' } });
    await untilOpen(cache);
    const list = '/v2/up/team/app/tags/list';
    const partial = (got: Got) => [got.status, warning(got)];
    const expected = [200, '299 - "partial list: upstream unavailable"'];
    // A list waits longer than a validation: those who do so in vain have to be as many.
    for (let i = 0; i < 3; i++) {
      upstream.clear();
      const waiting = cache.get(list);
      await expect.poll(() => upstream.requests.length).toBe(1);
      await cache.clock.advance(10_000);
      expect(partial(await waiting)).toEqual(expected);
    }
    upstream.clear();
    expect(partial(await cache.get(list))).toEqual(expected);
    expect(upstream.requests).toEqual([]);
    await cache.clock.advance(60_000);
    const waiting = cache.get(list);
    await expect.poll(() => upstream.requests.length).toBe(1);
    const other = cache.get('/v2/up/team/app/tags/list?n=5');
    const both = await patiently(cache, Promise.all([waiting, other]));
    expect(both.got.map(partial)).toEqual([expected, expected]);
    expect(both.afterMs).toBeLessThan(2_300);
    expect(upstream.requests).toHaveLength(1);
  });

  test('may be slow only: who waits longer than a validation is let through, and opens the way for all', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    const other = upstream.addImage('team/app', { tag: '2', seed: 'other' });
    await pullImage(cache, at);
    upstream.on({ method: 'HEAD' }, { hang: true });
    await untilOpen(cache);
    const got = await cache.get('/v2/up/team/app/manifests/2');
    expect([got.status, got.headers['docker-content-digest']]).toEqual([200, other.root.digest]);
    expect(stateOf(cache)).toBe('closed');
  });

  test('a probe that its client leaves, or that the end of the cache cuts off, keeps nobody out', async () => {
    const { upstream, cache } = await startBlackholed();
    await untilOpen(cache);
    await cache.clock.advance(2_000);
    for (let i = 0; i < 3; i++) {
      upstream.clear();
      const client = new AbortController();
      const left = cache.get(`/v2/up/team/app/manifests/${i + 5}`, { signal: client.signal }).catch(() => 'left');
      await expect.poll(() => upstream.requests.length).toBe(1);
      client.abort();
      await left;
      await expect.poll(() => upstream.requests[0]!.aborted).toBe(true);
    }
    upstream.clear();
    const running = cache.get('/v2/up/team/app/manifests/9');
    await expect.poll(() => upstream.requests.length).toBe(1);
    const closed = cache.cache.close({ graceMs: 0 });
    await cache.clock.advance(0);
    await closed;
    expect((await running).status).toBe(503);
  });
});

describe('33: what opens a breaker, and what does not', () => {
  test.each([
    ['refused connections', (upstream: FakeUpstream) => upstream.stop()],
    ['lost connections', (upstream: FakeUpstream) => upstream.on({}, { drop: 'rst' })],
    ['503', (upstream: FakeUpstream) => upstream.on({}, { status: 503 })],
    ['500', (upstream: FakeUpstream) => upstream.on({}, { status: 500 })],
  ])('%s do: the upstream is left alone, stored tags are served', async (_what, fail) => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    await fail(upstream);
    await untilOpen(cache);
    upstream.clear();
    cache.events.length = 0;
    for (let i = 0; i < 5; i++) expect(isStale(await cache.get(byTag))).toBe(true);
    expect(upstream.requests).toEqual([]);
    // Nobody was asked, so there is nothing to tell of.
    expect(cache.seen('upstream-request')).toEqual([]);
  });

  test.each([400, 401, 403, 404, 405, 416, 418, 429, 451, 501])(
    'answers of %i do not, however many',
    async (status) => {
      const { upstream, cache } = await startPair();
      upstream.on({}, { status });
      for (let i = 0; i < 10; i++) {
        await cache.get(`/v2/up/team/app/manifests/${i}`);
        await cache.clock.advance(15 * 60_000);
      }
      expect(upstream.requests.length).toBeGreaterThanOrEqual(10);
      expect([stateOf(cache), cache.seen('breaker-changed')]).toEqual(['closed', []]);
    },
  );

  test('clients that leave do not, however many', async () => {
    const { upstream, cache } = await startPair();
    upstream.on({}, { hang: true });
    for (let i = 0; i < 10; i++) {
      const client = new AbortController();
      const left = cache.get(`/v2/up/team/app/manifests/${i}`, { signal: client.signal }).catch(() => 'left');
      await expect.poll(() => upstream.requests.length).toBe(i + 1);
      await cache.clock.advance(5_000);
      client.abort();
      await left;
    }
    expect(stateOf(cache)).toBe('closed');
  });

  test('one manifest that the registry cannot give stops no other', async () => {
    const { upstream, cache } = await startPair();
    for (const tag of ['1', '2', '3']) upstream.addImage('team/app', { tag, seed: tag });
    upstream.on({ path: /\/manifests\/1$/ }, { status: 500 });
    for (const tag of ['2', '3']) {
      for (let i = 0; i < 4; i++) expect((await patiently(cache, cache.get(byTag))).got.status).toBe(503);
      expect((await cache.get(`/v2/up/team/app/manifests/${tag}`)).status).toBe(200);
    }
  });

  test('failures in a row are counted, not failures', async () => {
    const { upstream, cache } = await startPair({ breaker: { failures: 4 } });
    upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    for (let round = 0; round < 5; round++) {
      upstream.on({ times: 3, ...manifests }, { drop: 'rst' });
      for (let i = 0; i < 4; i++) await patiently(cache, cache.get(byTag));
    }
    expect(cache.seen('breaker-changed')).toEqual([]);
    upstream.on(manifests, { drop: 'rst' });
    await untilOpen(cache);
  });
});

describe('33: each host has a breaker of its own', () => {
  test('a dead CDN stops neither validation nor manifests, and is back by itself', async () => {
    const cdn = await startFakeCdn();
    onTestFinished(() => cdn.stop());
    const { upstream, cache } = await startPair({ fake: { redirectBlobsTo: cdn } });
    const image = upstream.addImage('team/app', { tag: '1' });
    upstream.addImage('team/app', { tag: '2', seed: 'other' });
    await cache.get(byTag);
    await cdn.stop();
    const layer = `/v2/up/team/app/blobs/${image.layers[0]!.digest}`;
    const hostState = (host: string) =>
      cache.cache.upstreams.status()[0]!.hosts.find((one) => one.host === host)?.state ?? 'closed';
    while (hostState(cdn.host) === 'closed') {
      const { got } = await patiently(cache, cache.get(layer));
      expect(got.status).toBeGreaterThanOrEqual(502);
    }
    expect(hostState(upstream.host)).toBe('closed');
    upstream.clear();
    const valid = await cache.get(byTag);
    expect([valid.status, warning(valid), upstream.count({ method: 'HEAD' })]).toEqual([200, undefined, 1]);
    expect((await cache.get('/v2/up/team/app/manifests/2')).status).toBe(200);
    await cdn.start();
    await cache.clock.advance(60_000);
    expect((await patiently(cache, cache.get(layer))).got.status).toBe(200);
    expect(hostState(cdn.host)).toBe('closed');
  });

  /** A registry whose tokens come from another host; the cache has tag 1 and no token any more. */
  async function startHub(
    options: Partial<UpstreamOptions> = {},
  ): Promise<{ cache: CacheUnderTest; upstream: FakeUpstream; tokenHost: FakeHost }> {
    const tokenHost = await startTokenHost();
    const upstream = await startUpstream({ auth: { bearer: { at: tokenHost, expiresIn: 300 } } });
    upstream.addImage('team/app', { tag: '1' });
    const own = { key: 'up', url: upstream.url, tokenHosts: [tokenHost.host] };
    const cache = await startCache({ upstreams: [{ ...own, ...options }] });
    await pullImage(cache, at);
    await cache.restart();
    upstream.clear();
    tokenHost.clear();
    return { cache, upstream, tokenHost };
  }

  test.each([
    ['refuses connections', (host: FakeHost) => host.stop()],
    ['takes requests and answers none', (host: FakeHost) => host.on({}, { hang: true })],
  ] as const)('a token service that %s does not stop stored answers', async (_what, fail) => {
    const { cache, upstream, tokenHost } = await startHub();
    await fail(tokenHost);
    const isOpen = () => cache.cache.upstreams.status()[0]!.hosts.some(({ state }) => state === 'open');
    while (!isOpen()) expect(isStale((await patiently(cache, cache.get(byTag))).got)).toBe(true);
    const before = tokenHost.requests.length;
    for (let i = 0; i < 10; i++) expect(isStale(await cache.get(byTag))).toBe(true);
    expect(tokenHost.requests.length).toBe(before);
    const [status] = cache.cache.upstreams.status();
    expect(status).toMatchObject({ key: 'up', state: 'closed' });
    expect(status!.hosts.map(({ host, state }) => [host, state]).sort()).toEqual(
      [
        [tokenHost.host, 'open'],
        [upstream.host, 'closed'],
      ].sort(),
    );
    tokenHost.heal();
    await tokenHost.start();
    await cache.clock.advance(2_000);
    // It finds out that it is back.
    expect(isStale(await cache.get(byTag))).toBe(true);
    await expect.poll(() => isOpen() || tokenHost.requests.length === before).toBe(false);
    await expect.poll(async () => warning(await cache.get(byTag))).toBeUndefined();
  });

  test('a token service that takes requests and answers none keeps no stored answer waiting while it is tried', async () => {
    const { cache, tokenHost } = await startHub();
    tokenHost.on({}, { hang: true });
    const stateOfTokens = () =>
      cache.cache.upstreams.status()[0]!.hosts.find(({ host }) => host === tokenHost.host)?.state ?? 'closed';
    while (stateOfTokens() === 'closed') await patiently(cache, cache.get(byTag));
    // The clock stands still: whoever waited for anything would wait for ever.
    for (let i = 0; i < 3; i++) expect(isStale(await cache.get(byTag))).toBe(true);
    await cache.clock.advance(2_000);
    expect(stateOfTokens()).toBe('half-open');
    tokenHost.clear();
    for (let i = 0; i < 5; i++) expect(isStale(await cache.get(byTag))).toBe(true);
    await expect.poll(() => tokenHost.requests.length).toBe(1);
    for (let i = 0; i < 5; i++) expect(isStale(await cache.get(byTag))).toBe(true);
  });

  test('a token service that is down is nothing to a repository whose token lives on', async () => {
    const { cache, upstream, tokenHost } = await startHub();
    upstream.addImage('team/other', { tag: '1' });
    expect(warning(await cache.get(byTag))).toBeUndefined();
    await tokenHost.stop();
    const other = '/v2/up/team/other/manifests/1';
    for (let i = 0; i < 4; i++) await patiently(cache, cache.get(other));
    expect(cache.cache.upstreams.status()[0]!.hosts.some(({ state }) => state === 'open')).toBe(true);
    expect(warning(await cache.get(byTag))).toBeUndefined();
  });

  test('a dead registry has no tokens asked for in vain', async () => {
    const { cache, upstream, tokenHost } = await startHub({ breaker: { openFor: '1h', maxOpenFor: '1h' } });
    // It knows now whom to ask for tokens; this one is over by then.
    expect(warning(await cache.get(byTag))).toBeUndefined();
    upstream.on({}, { drop: 'rst' });
    await untilOpen(cache);
    await cache.clock.advance(30 * 60_000);
    tokenHost.clear();
    expect(isStale(await cache.get(byTag))).toBe(true);
    expect(tokenHost.requests).toEqual([]);
  });
});

test('how upstreams are doing can be read, in the order they were given, also before they were asked', async () => {
  const [one, two] = [await startUpstream(), await startUpstream()];
  const cache = await startCache({
    upstreams: [
      { key: 'two', url: two.url },
      { key: 'one', url: one.url },
    ],
  });
  expect(cache.cache.upstreams.status()).toMatchObject([
    { key: 'two', state: 'closed', hosts: [] },
    { key: 'one', state: 'closed', hosts: [] },
  ]);
  await one.stop();
  for (let i = 0; i < 3; i++) await patiently(cache, cache.get('/v2/one/team/app/manifests/1'));
  const retryAt = expect.any(Number);
  expect(cache.cache.upstreams.status()).toMatchObject([
    { key: 'two', state: 'closed' },
    {
      key: 'one',
      state: 'open',
      retryAt,
      hosts: [{ host: one.host, state: 'open', failures: expect.any(Number), retryAt }],
    },
  ]);
});
