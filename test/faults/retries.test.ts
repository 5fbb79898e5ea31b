import { type ProxyCacheOptions, systemClock, type UpstreamOptions } from '@proxycache/core';
import { type FakeUpstreamOptions, type Fault, gate, seededBytes, startFakeCdn } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { digestOfBody, startPair } from '../semantics/cache-under-test.ts';
import { throughRetries } from './through-retries.ts';

const retry = { attempts: 3, minWait: 100, maxWait: 1_000, budget: 0.2 };

async function start(
  options: Partial<UpstreamOptions> & { cache?: Partial<ProxyCacheOptions>; fake?: FakeUpstreamOptions } = {},
) {
  const pair = await startPair({ retry, ...options });
  const image = pair.upstream.addImage('team/app', { tag: '1' });
  const blob = pair.upstream.putBlob('team/app', seededBytes('retried', 100_000));
  const paths = {
    manifest: '/v2/up/team/app/manifests/1',
    blob: `/v2/up/team/app/blobs/${blob}`,
    tags: '/v2/up/team/app/tags/list',
    referrers: `/v2/up/team/app/referrers/${image.root.digest}`,
  };
  const get = (path: string) => throughRetries(pair.cache, pair.cache.get(path));
  return { ...pair, image, blob, paths, get };
}

const passing: [string, Fault][] = [
  ['a reset before the headers', { drop: 'rst' }],
  ['a close before the headers', { drop: 'fin' }],
  ['500', { status: 500 }],
  ['502', { status: 502 }],
  ['503', { status: 503 }],
  ['503 with Retry-After: 1', { status: 503, headers: { 'retry-after': '1' } }],
  ['408', { status: 408 }],
  ['425', { status: 425 }],
  ['429 with Retry-After: 1', { status: 429, headers: { 'retry-after': '1' } }],
];

describe.each(passing)('%s, twice, and then an answer', (_what, fault) => {
  test.each(['manifest', 'blob', 'tags', 'referrers'] as const)(
    'costs a client of a %s the wait alone',
    async (kind) => {
      const { upstream, cache, get, paths } = await start();
      upstream.on({ times: 2 }, fault);
      const got = await get(paths[kind]);
      expect(got.status).toBe(200);
      expect(upstream.count()).toBe(3);
      expect(cache.seen('upstream-retried').map(({ attempt }) => attempt)).toEqual([2, 3]);
    },
  );
});

test('a manifest that broke off, or came with a wrong byte, is asked for again', async () => {
  for (const fault of [{ cutAfter: 10, how: 'rst' }, { cutAfter: 10, how: 'fin' }, { corruptAt: 5 }] as const) {
    const { upstream, image, get, paths } = await start();
    upstream.on({ method: 'GET', times: 1 }, fault);
    const got = await get(paths.manifest);
    expect([got.status, digestOfBody(got.body)]).toEqual([200, image.root.digest]);
  }
});

test('a token service that fails for a moment costs no pull', async () => {
  const { upstream, get, paths } = await start({ auth: { username: 'ann', password: 'pass' } });
  upstream.change({ auth: { bearer: { users: { ann: { password: 'pass' } } } } });
  upstream.on({ path: '/token', times: 1 }, { status: 503 });
  upstream.on({ path: '/token', times: 1 }, { drop: 'rst' });
  expect((await get(paths.manifest)).status).toBe(200);
  expect(upstream.tokenCalls()).toBe(3);
});

test.each([
  ['429', { status: 429, headers: { 'retry-after': '30' } }, 429, '30'],
  ['503', { status: 503, headers: { 'retry-after': '30' } }, 503, '30'],
] as const)('%s with a Retry-After beyond the deadline is told at once', async (_what, fault, status, retryAfter) => {
  const { upstream, cache, paths } = await start();
  upstream.on({}, fault);
  const got = await cache.get(paths.manifest);
  expect([got.status, got.headers['retry-after'], upstream.count()]).toEqual([status, retryAfter, 1]);
});

test('a wait is as long as Retry-After says, however the jitter falls', async () => {
  const { upstream, cache, get, paths } = await start();
  upstream.on({ times: 1 }, { status: 429, headers: { 'retry-after': '4' } });
  const before = cache.clock.monotonic();
  expect((await get(paths.manifest)).status).toBe(200);
  const waited = cache.clock.monotonic() - before;
  expect(waited).toBeGreaterThan(4_000);
  expect(waited).toBeLessThan(4_200);
});

test('what a page answers, or a wrong credential meets, is not asked again', async () => {
  const page = { status: 503, body: '<html>', headers: { 'content-type': 'text/html' } };
  const { upstream, get, paths } = await start({ auth: { username: 'ann', password: 'wrong' } });
  upstream.change({ auth: { bearer: { users: { ann: { password: 'pass' } } } } });
  expect((await get(paths.manifest)).status).toBe(502);
  expect(upstream.tokenCalls()).toBe(1);
  const other = await start();
  other.upstream.on({}, { ...page, status: 200 });
  expect((await other.get(other.paths.manifest)).status).toBe(502);
  expect(other.upstream.count()).toBe(1);
});

test('a stored tag is served stale when the retries within validateWithin are in vain', async () => {
  const { upstream, cache, get, paths } = await start();
  await get(paths.manifest);
  upstream.clear();
  upstream.on({}, { status: 503 });
  const before = cache.clock.monotonic();
  const got = await get(paths.manifest);
  expect([got.status, got.headers['warning']?.includes('stale')]).toEqual([200, true]);
  expect(upstream.count()).toBe(3);
  expect(cache.clock.monotonic() - before).toBeLessThan(2_000);
});

test('an outage is not multiplied: once the budget is spent, a request is asked again once', async () => {
  const { upstream, get } = await start({
    breaker: { failures: 1_000_000 },
    retry: { ...retry, minWait: 0, budget: 0.1 },
  });
  upstream.on({}, { status: 503 });
  for (let request = 0; request < 100; request++) {
    expect((await get(`/v2/up/team/app/manifests/t${request}`)).status).toBe(503);
  }
  // A hundred requests, a retry of each, the reserve of ten, and one for each ten requests.
  expect(upstream.count()).toBeGreaterThanOrEqual(218);
  expect(upstream.count()).toBeLessThanOrEqual(220);
});

test('a load balancer that restarts and resets all that is under way costs none of them its pull', async () => {
  const { upstream, cache } = await start({ cache: { clock: systemClock }, retry: { ...retry, budget: 0 } });
  const tags = Array.from({ length: 20 }, (_, index) => `t${index}`);
  for (const tag of tags) upstream.addImage('team/app', { tag, seed: tag });
  const held = gate();
  upstream.on({ times: tags.length }, { gate: held, drop: 'rst' });
  const pulls = tags.map((tag) => cache.get(`/v2/up/team/app/manifests/${tag}`));
  await expect.poll(() => upstream.count()).toBe(tags.length);
  held.open();
  expect((await Promise.all(pulls)).map(({ status }) => status)).toEqual(tags.map(() => 200));
  expect(cache.seen('breaker-changed')).toEqual([]);
});

test('a registry that is gone for a moment is waited for by the pull that found it so, alone', async () => {
  const { upstream, cache, paths } = await start({ cache: { clock: systemClock }, breaker: { openFor: '1500ms' } });
  upstream.on({}, { drop: 'rst' });
  const got = cache.get(paths.manifest);
  await expect.poll(() => cache.seen('breaker-changed').length).toBe(1);
  const refused = await cache.get('/v2/up/team/app/manifests/other');
  expect([refused.status, Number(refused.headers['retry-after']) > 0]).toEqual([503, true]);
  upstream.heal();
  expect((await got).status).toBe(200);
});

test('while blobs wait for a dead CDN, their registry is left in peace, and none of them misses its return', async () => {
  const cdn = await startFakeCdn();
  onTestFinished(() => cdn.stop());
  const { upstream, cache } = await start({
    cache: { clock: systemClock },
    fake: { redirectBlobsTo: cdn },
    breaker: { failures: 1, openFor: '1500ms' },
  });
  const blobs = [1, 2, 3, 4].map((n) => upstream.putBlob('team/app', seededBytes(`cdn ${n}`, 1_000)));
  const get = (blob: string) => cache.get(`/v2/up/team/app/blobs/${blob}`);
  await cdn.stop();
  const first = get(blobs[0]!);
  await expect.poll(() => cache.seen('breaker-changed').length).toBe(1);
  await expect.poll(() => upstream.count()).toBeGreaterThan(0);
  upstream.clear();
  const others = blobs.slice(1).map(get);
  await cdn.start();
  expect((await Promise.all([first, ...others])).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  // For each: once to be led to the CDN, and once more when that is back; the first may have planned a retry before.
  expect(upstream.count()).toBeLessThanOrEqual(2 * 4 + 1);
});

test('an outage of the night stops nobody in the morning, and what it left is not served for new', async () => {
  const { upstream, cache, paths } = await start({ retry: { ...retry, attempts: 1 } });
  expect((await cache.get(paths.manifest)).status).toBe(200);
  upstream.on({}, { drop: 'rst' });
  for (let i = 0; i < 3; i++) expect((await cache.get(paths.manifest)).headers['warning']).toMatch(/stale/);
  expect(cache.seen('breaker-changed')).toHaveLength(1);
  upstream.heal();
  const { digest } = upstream.addImage('team/app', { tag: '1', seed: 'moved' }).root;
  const cold = ['a', 'b', 'c'].map((tag) => upstream.addImage('team/app', { tag, seed: tag }).root.digest);
  await cache.clock.advance(8 * 3_600_000);
  const wanted = [paths.manifest, ...['a', 'b', 'c'].map((tag) => `/v2/up/team/app/manifests/${tag}`)];
  const got = await Promise.all(wanted.map((path) => cache.get(path)));
  expect(got.map(({ status, headers, body }) => [status, headers['warning'], digestOfBody(body)])).toEqual(
    [digest, ...cold].map((expected) => [200, undefined, expected]),
  );
});

test('a client that leaves ends the waiting, and nothing is asked any more', async () => {
  const { upstream, cache, paths } = await start({ retry: { ...retry, minWait: '5s', maxWait: '5s' } });
  upstream.on({}, { status: 503 });
  const leaving = new AbortController();
  const got = cache.get(paths.tags, { signal: leaving.signal }).catch(() => 'left');
  await expect.poll(() => cache.seen('upstream-retried').length).toBe(1);
  const waiting = cache.clock.pending();
  leaving.abort();
  expect(await got).toBe('left');
  await expect.poll(() => cache.clock.pending()).toBeLessThan(waiting);
  await cache.clock.advance(4_999);
  expect(upstream.count()).toBe(1);
});
