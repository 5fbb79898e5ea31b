import type { UpstreamEndpoint, UpstreamOptions } from '@proxycache/core';
import {
  type FakeHost,
  type FakeUpstream,
  type Fault,
  gate,
  htmlPage,
  seededBytes,
  startFakeHost,
} from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { digestOfBody, startCache, startUpstream } from '../semantics/cache-under-test.ts';
import { pullImage } from '../semantics/pull-image.ts';
import { secretWatch } from '../semantics/secret-watch.ts';
import { throughRetries } from './through-retries.ts';

const layer = Buffer.from(seededBytes('layer', 3 * 1024 * 1024));
const at = { path: '/v2/up/team/app', tag: '1' };

function fill(upstream: FakeUpstream) {
  const image = upstream.addImage('team/app', { tag: '1', seed: 'same' });
  const digest = upstream.putBlob('team/app', layer);
  return { image, digest, blob: `/v2/up/team/app/blobs/${digest}` };
}

/** Two registries with the same content, and a cache that has the second one for an endpoint. */
async function start(
  options: Partial<UpstreamOptions> = {},
  endpoint: Partial<UpstreamEndpoint> = {},
): Promise<Awaited<ReturnType<typeof startCacheOf>>> {
  return await startCacheOf([await startUpstream(), await startUpstream()], options, endpoint);
}

async function startCacheOf(
  [one, two]: [FakeUpstream, FakeUpstream],
  options: Partial<UpstreamOptions>,
  endpoint: Partial<UpstreamEndpoint>,
) {
  fill(two);
  const filled = fill(one);
  const cache = await startCache({
    upstreams: [{ key: 'up', url: one.url, endpoints: [{ url: two.url, ...endpoint }], ...options }],
  });
  return { ...filled, one, two, cache };
}

const failing: [string, (one: FakeUpstream) => unknown][] = [
  ['refuses connections', (one) => one.stop()],
  ['resets connections', (one) => one.on({}, { drop: 'rst' })],
  ['answers 500', (one) => one.on({}, { status: 500 })],
  ['answers 429', (one) => one.on({}, { status: 429, headers: { 'retry-after': '3600' } })],
  ['answers with the page of a captive portal', (one) => one.on({}, portal)],
  ['redirects to such a page', (one) => one.on({}, { redirect: `${new URL(one.url).origin}/login` })],
  ['asks for a credential that it then rejects', (one) => one.change({ auth: { bearer: { public: [] } } })],
  ['sends wrong manifests and refuses blobs', (one) => void [one.on(manifests, { corruptAt: 3 }), one.on(blobs, down)]],
];
const portal: Fault = htmlPage(200, 'Sign in');
const manifests = { method: 'GET', path: /\/manifests\// };
const blobs = { path: /\/blobs\// };
const down: Fault = { status: 503 };

test.each(failing)('an image is pulled from the next endpoint when the first one %s', async (_what, fail) => {
  const { one, two, cache } = await start({ auth: { username: 'ann', password: 'wrong' } });
  await fail(one);
  const pulled = await pullImage(cache, at);
  expect(pulled.status).toBe(200);
  expect(two.count()).toBeGreaterThan(2);
});

test('a silent one costs half of the time and no more, and the next request nothing', async () => {
  const { one, cache } = await start();
  one.on({}, { hang: true });
  const first = cache.get(`${at.path}/manifests/1`);
  await expect.poll(() => one.count()).toBe(1);
  await cache.clock.advance(5_000);
  expect((await first).status).toBe(200);
  expect((await cache.get(`${at.path}/tags/list`)).status).toBe(200);
  expect(one.count()).toBe(1);
});

test.each(['dead', 'silent'])('a slow one is not cut off because there is another that is %s', async (how) => {
  const { one, two, cache } = await start({ validateWithin: '10s' });
  if (how === 'dead') await two.stop();
  else two.on({}, { hang: true });
  for (const path of [`${at.path}/manifests/1`, `${at.path}/tags/list`, `${at.path}/manifests/1`]) {
    const held = gate();
    const heal = one.on({}, { gate: held });
    const got = cache.get(path);
    await held.reached;
    await cache.clock.advance(6_000);
    held.open();
    expect([(await got).status, (await got).headers['warning']]).toEqual([200, undefined]);
    heal();
  }
  expect(cache.seen('breaker-changed').filter(({ host }) => host === one.host)).toEqual([]);
});

test('a silent one that loses again and again is no failure for its breaker', async () => {
  const { one, cache } = await start({ breaker: { failures: 1 } });
  one.on({}, { hang: true });
  for (let round = 0; round < 3; round++) {
    const asked = one.count();
    const got = cache.get(`${at.path}/tags/list`);
    await expect.poll(() => one.count()).toBe(asked + 1);
    await cache.clock.advance(5_000);
    expect((await got).status).toBe(200);
    await cache.clock.advance(30_000);
  }
  expect(cache.seen('breaker-changed')).toEqual([]);
  await expect.poll(() => one.requests.every(({ aborted }) => aborted)).toBe(true);
});

describe('a transfer that breaks off', () => {
  test.each(['rst', 'fin'] as const)('by %s goes on from the next endpoint, at the same byte', async (how) => {
    const { one, two, cache, blob, digest } = await start();
    one.on({ method: 'GET', path: /\/blobs\// }, { cutAfter: 2_000_000, how });
    const got = await throughRetries(cache, cache.get(blob));
    expect([got.status, digestOfBody(got.body), got.failure]).toEqual([200, digest, undefined]);
    expect(one.count({ method: 'GET' })).toBe(1);
    expect(two.sentBytes()).toBeLessThan(layer.length);
    expect(two.requests.map(({ headers }) => /^bytes=\d+-$/.test(headers.range ?? ''))).toEqual([true]);
    expect(cache.seen('endpoint-failed')).toEqual([
      { type: 'endpoint-failed', upstream: 'up', host: one.host, error: 'unreachable' },
    ]);
  });
});

test('wrong bytes are fetched once more from another endpoint', async () => {
  const { one, two, cache } = await start();
  const small = one.putBlob('team/app', 'a small blob');
  two.putBlob('team/app', 'a small blob');
  one.on({ method: 'GET', path: /\/blobs\// }, { corruptAt: 3 });
  const got = await cache.get(`/v2/up/team/app/blobs/${small}`);
  expect([got.status, got.body.toString()]).toEqual([200, 'a small blob']);
  expect([one.count(), two.count()]).toEqual([1, 1]);
});

test('a blob whose CDN is down does not send tags to an endpoint that lags behind', async () => {
  const { one, two, cache, blob } = await start();
  const cdn = await startFakeHost({}, () => ({ status: 200, headers: {}, body: '' }));
  await cdn.stop();
  one.on({ path: /\/blobs\// }, { redirect: `${cdn.url}/blob` });
  const moved = one.addImage('team/app', { tag: '1', seed: 'moved' });
  expect((await cache.get(blob)).status).toBe(200);
  const got = await cache.get(`${at.path}/manifests/1`);
  expect(got.headers['docker-content-digest']).toBe(moved.root.digest);
  expect(two.count({ path: /\/manifests\// })).toBe(0);
});

test('the first one has its work back after a few seconds', async () => {
  const { one, two, cache } = await start();
  const heal = one.on({}, { status: 500 });
  const list = async () => expect((await cache.get(`${at.path}/tags/list`)).status).toBe(200);
  await list();
  heal();
  await list();
  expect([one.count(), two.count()]).toEqual([1, 2]);
  await cache.clock.advance(5_000);
  await list();
  expect([one.count(), two.count()]).toEqual([2, 2]);
});

describe('that there is nothing', () => {
  test('is believed of the first endpoint', async () => {
    const { one, two, cache } = await start();
    two.addImage('team/app', { tag: 'new' });
    const got = await cache.get(`${at.path}/manifests/new`);
    expect([got.status, one.count(), two.count()]).toEqual([404, 1, 0]);
  });

  test('is not believed of the next one: a failure is no 404, and what is stored is served', async () => {
    const { one, two, cache } = await start();
    one.addImage('team/app', { tag: 'new' });
    await cache.get(`${at.path}/manifests/new`);
    one.on({}, { status: 500 });
    const stored = await cache.get(`${at.path}/manifests/new`);
    expect([stored.status, stored.headers['warning']?.includes('stale')]).toEqual([200, true]);
    const got = await cache.get(`${at.path}/manifests/newer`);
    // A HEAD, the GET that a 404 to it wants, and this one's GET.
    expect([got.status, two.count()]).toEqual([503, 3]);
  });

  test('refers to a manifest is not believed of the next one', async () => {
    const { one, cache, image } = await start();
    one.on({}, { status: 500 });
    expect((await cache.get(`${at.path}/referrers/${image.root.digest}`)).status).toBe(503);
  });
});

test('a list of tags is gone on with where it was begun', async () => {
  const { one, two, cache } = await start();
  for (const upstream of [one, two]) for (const tag of ['2', '3', '4']) upstream.addImage('team/app', { tag });
  two.addImage('team/app', { tag: '1a' });
  const heal = one.on({}, { status: 500 });
  const first = await cache.get(`${at.path}/tags/list?n=2`);
  expect(JSON.parse(first.body.toString()).tags).toEqual(['1', '1a']);
  heal();
  await cache.clock.advance(60_000);
  const next = /<([^>]+)>/.exec(first.headers['link'] ?? '')?.[1] ?? '';
  const second = await cache.get(new URL(next, cache.url).href.slice(cache.url.length));
  expect(JSON.parse(second.body.toString()).tags).toEqual(['2', '3']);
  expect([one.count(), two.count()]).toEqual([1, 2]);
});

test('links stay when endpoints come and go, and are void with another url', async () => {
  const { one, two, cache, blob } = await start();
  await cache.get(blob);
  await expect.poll(() => cache.seen('ingest-ended').length).toBe(1);
  const counts = () => [one.count(), two.count()];
  await cache.restart({ upstreams: [{ key: 'up', url: one.url }] });
  expect((await cache.get(blob)).status).toBe(200);
  await cache.restart({ upstreams: [{ key: 'up', url: one.url, endpoints: [two.url, 'http://127.0.0.1:1'] }] });
  expect((await cache.get(blob)).status).toBe(200);
  expect(counts()).toEqual([1, 0]);
  await cache.restart({ upstreams: [{ key: 'up', url: two.url, endpoints: [one.url] }] });
  expect((await cache.get(blob)).status).toBe(200);
  expect(counts()).toEqual([1, 1]);
});

describe('credentials', () => {
  const first = { username: 'ann', password: 'pa55word-of-the-first' };
  const second = { username: 'bob', password: 'pa55word-of-the-second' };
  const bearer = (user: typeof first) => ({
    bearer: { public: [], users: { [user.username]: { password: user.password } } },
  });

  test.each(['basic', 'bearer'] as const)('of each endpoint go to it, and nowhere else (%s)', async (kind) => {
    const { one, two, cache } = await start({ auth: first }, { auth: second });
    one.change({ auth: kind === 'basic' ? { basic: first } : bearer(first) });
    two.change({ auth: kind === 'basic' ? { basic: second } : bearer(second) });
    expect((await pullImage(cache, at)).status).toBe(200);
    expect(two.count()).toBe(0);
    one.on({ path: /^\/v2\// }, { status: 500 });
    expect((await cache.get(`${at.path}/tags/list`)).status).toBe(200);
    expect(sent(one, second)).toEqual([]);
    expect(sent(two, first)).toEqual([]);
    expect(sent(one, first)).not.toEqual([]);
    expect(sent(two, second)).not.toEqual([]);
  });

  test('of the first one do not go to an endpoint that is a plain URL, nor to where that leads', async () => {
    const hop = await startFakeHost({ address: '127.0.0.4' }, () => ({ status: 404, headers: {}, body: '' }));
    onTestFinished(() => hop.stop());
    const [one, two] = [await startUpstream(), await startUpstream()];
    fill(two);
    one.change({ auth: bearer(first) });
    const auth = {
      bearer: { at: hop, public: [] as string[], users: { [first.username]: { password: first.password } } },
    };
    two.change({ auth });
    const tokenHosts = [hop.host];
    const cache = await startCache({
      upstreams: [
        { key: 'up', url: one.url, auth: first, tokenHosts, endpoints: [two.url], allowPrivate: ['127.0.0.0/8'] },
      ],
    });
    one.on({ path: /^\/v2\// }, { status: 500 });
    expect((await cache.get(`${at.path}/tags/list`)).status).toBe(503);
    expect(hop.count()).toBe(1);
    for (const host of [two, hop]) expect(sent(host, first)).toEqual([]);
    expect(hop.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  /** Where in a host's log a credential is, in whatever form it goes over the wire. */
  function sent(host: FakeHost, { username, password }: typeof first): unknown[] {
    const watch = secretWatch();
    watch.sawRequests('a request', host);
    return watch.leaks([password, `${username}:${password}`]);
  }
});
