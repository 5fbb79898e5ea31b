import type { ProxyCacheOptions, Tracing } from '@proxycache/core';
import { chunkGate, gate } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { type CacheUnderTest, startPair } from './cache-under-test.ts';
import { lineageOf, type RecordedSpan, recordSpans } from './recorded-spans.ts';

const byTag = '/v2/up/team/app/manifests/1';
const manifestRoute = 'GET /v2/{name}/manifests/{reference}';
const blobRoute = 'GET /v2/{name}/blobs/{digest}';
const MiB = 1024 * 1024;

async function tracedPair(options: Parameters<typeof startPair>[0] = {}, cache: Partial<ProxyCacheOptions> = {}) {
  const { tracing, spans } = recordSpans();
  const pair = await startPair({ ...options, cache: { tracing, ...options.cache, ...cache } });
  const named = (name: string) => spans.filter((span) => span.name === name);
  return { ...pair, spans, named };
}

const allEnded = (spans: readonly RecordedSpan[]) => expect.poll(() => spans.every(({ ended }) => ended)).toBe(true);

async function settle(cache: CacheUnderTest): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await cache.get('/v2/');
    await cache.clock.advance(0);
  }
}

describe('a span', () => {
  it('is around each request, and what it asks upstream is part of it', async () => {
    const { upstream, cache, spans, named } = await tracedPair({ fake: { auth: { bearer: {} } } });
    upstream.addImage('team/app', { tag: '1' });
    expect((await cache.get(byTag)).status).toBe(200);
    await allEnded(spans);
    expect(named('GET manifest').map(lineageOf)).toEqual([
      ['GET manifest', 'ask for tag', manifestRoute],
      ['GET manifest', 'ask for tag', manifestRoute],
    ]);
    expect(named('GET token').map(lineageOf)).toEqual([['GET token', 'token', 'ask for tag', manifestRoute]]);
    const [request] = named(manifestRoute);
    expect(request).toMatchObject({
      kind: 'server',
      attributes: {
        'http.request.method': 'GET',
        'http.route': '/v2/{name}/manifests/{reference}',
        'http.response.status_code': 200,
        'proxycache.upstream': 'up',
        'proxycache.repository': 'team/app',
        'proxycache.reference': '1',
        'proxycache.hit': false,
        'proxycache.forward': 'miss',
      },
    });
    expect(named('GET manifest')[1]).toMatchObject({
      kind: 'client',
      attributes: { 'http.response.status_code': 200, 'server.address': '127.0.0.1', 'proxycache.upstream': 'up' },
    });
  });

  it('of a blob that comes in is around its transfer, which belongs to the request that began it', async () => {
    const { upstream, cache, spans, named } = await tracedPair();
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB] });
    const path = `/v2/up/team/app/blobs/${layers[0]?.digest}`;
    expect((await cache.get(path)).status).toBe(200);
    await allEnded(spans);
    expect(named('GET blob').map(lineageOf)).toEqual([['GET blob', 'ingest', blobRoute]]);
    expect(named('GET blob')[0]?.attributes).toMatchObject({ 'http.response.body.size': 3 * MiB });
    expect(named('ingest')[0]?.attributes).toMatchObject({ 'proxycache.bytes': 3 * MiB });
    expect(named(blobRoute)[0]?.attributes).toMatchObject({ 'http.response.body.size': 3 * MiB });
  });

  it('lasts until the body has ended', async () => {
    const { upstream, cache, spans, named } = await tracedPair();
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB] });
    const chunks = chunkGate(MiB);
    upstream.on({ path: /\/blobs\// }, { throttle: chunks });
    chunks.allow(1);
    const response = await fetch(`${cache.url}/v2/up/team/app/blobs/${layers[0]?.digest}`);
    expect(named(blobRoute).map(({ ended }) => ended)).toEqual([false]);
    expect(named('GET blob').map(({ ended }) => ended)).toEqual([false]);
    chunks.open();
    expect((await response.arrayBuffer()).byteLength).toBe(3 * MiB);
    await allEnded(spans);
    expect(spans.filter(({ failure }) => failure !== undefined)).toEqual([]);
  });

  it('ends when the client leaves in the middle of it', async () => {
    const { upstream, cache, named } = await tracedPair();
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB] });
    const chunks = chunkGate(MiB);
    upstream.on({ path: /\/blobs\// }, { throttle: chunks });
    chunks.allow(1);
    const leaving = new AbortController();
    await fetch(`${cache.url}/v2/up/team/app/blobs/${layers[0]?.digest}`, { signal: leaving.signal });
    leaving.abort();
    const ends = () => named(blobRoute).map(({ ended, failure }) => [ended, failure]);
    await expect.poll(ends).toEqual([[true, 'incomplete']]);
    chunks.open();
  });

  it('ends when the upstream breaks off in the middle of it', async () => {
    const { upstream, cache, spans, named } = await tracedPair({ resumeWithin: 1 });
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB] });
    upstream.on({ path: /\/blobs\// }, { cutAfter: MiB, how: 'rst' });
    const broken = fetch(`${cache.url}/v2/up/team/app/blobs/${layers[0]?.digest}`).then((got) => got.arrayBuffer());
    broken.catch(() => undefined);
    await expect
      .poll(async () => {
        await cache.clock.advance(1000);
        return spans.every(({ ended }) => ended);
      })
      .toBe(true);
    await expect(broken).rejects.toThrow();
    expect(named('GET blob')[0]).toMatchObject({ failure: 'incomplete' });
    expect(named('ingest')[0]?.failure).toBeDefined();
  });

  it('ends when the cache is closed', async () => {
    const { upstream, cache, spans } = await tracedPair();
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB] });
    const chunks = chunkGate(MiB);
    upstream.on({ path: /\/blobs\// }, { throttle: chunks });
    chunks.allow(1);
    const answer = fetch(`${cache.url}/v2/up/team/app/blobs/${layers[0]?.digest}`).then((got) => got.arrayBuffer());
    answer.catch(() => undefined);
    await expect.poll(() => spans.some(({ name }) => name === blobRoute)).toBe(true);
    const closing = cache.cache.close({ graceMs: 0 });
    await cache.clock.advance(0);
    await closing;
    await allEnded(spans);
    chunks.open();
  });

  it('of one who waits for another’s question links to that', async () => {
    const { upstream, cache, spans, named } = await tracedPair();
    upstream.addImage('team/app', { tag: '1' });
    const held = gate();
    upstream.on({ path: /manifests/ }, { gate: held });
    const first = cache.get(byTag);
    await held.reached;
    const second = cache.get(byTag);
    await expect.poll(() => named('wait: ask for tag')).toHaveLength(1);
    await settle(cache);
    held.open();
    await Promise.all([first, second]);
    await allEnded(spans);
    const [waiting] = named('wait: ask for tag');
    expect(waiting?.parent?.attributes).toMatchObject({ 'proxycache.collapsed': true });
    expect(waiting?.links).toEqual(named('ask for tag'));
    expect(named('ask for tag')[0]?.parent).not.toBe(waiting?.parent);
  });

  it('of one who waits for another’s transfer links to that', async () => {
    const { upstream, cache, spans, named } = await tracedPair();
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [MiB] });
    const path = `/v2/up/team/app/blobs/${layers[0]?.digest}`;
    const held = gate();
    upstream.on({ path: /\/blobs\// }, { gate: held });
    const first = cache.get(path);
    await held.reached;
    const second = cache.get(path);
    await expect.poll(() => named('wait: ingest')).toHaveLength(1);
    held.open();
    await Promise.all([first, second]);
    await allEnded(spans);
    expect(named('wait: ingest')[0]?.links).toEqual(named('ingest'));
    expect(named('GET blob')).toHaveLength(1);
  });

  it('of what is fetched ahead belongs to the request that it is for, also from memory', async () => {
    const { upstream, cache, spans, named } = await tracedPair({ prefetch: 'layers', freshFor: '1h' });
    const images = ['app', 'other'].map((name) => upstream.addImage(`team/${name}`, { tag: '1', layerSizes: [4000] }));
    await Promise.all([cache.get(byTag), cache.get('/v2/up/team/other/manifests/1')]);
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(images.length * 2);
    await allEnded(spans);
    for (const ingest of named('ingest')) {
      expect(lineageOf(ingest)).toEqual(['ingest', manifestRoute]);
      expect(ingest.parent?.attributes['proxycache.repository']).toBe(ingest.attributes['proxycache.repository']);
      expect(ingest.attributes['proxycache.prefetch']).toBe(true);
    }
    await cache.get(byTag);
    expect(named(manifestRoute).at(-1)).toMatchObject({ ended: true, attributes: { 'proxycache.hit': true } });
  });

  it('is around what a worker thread receives, too', async () => {
    const { upstream, cache, spans, named } = await tracedPair({}, { offload: 'ingest' });
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB] });
    expect((await cache.get(`/v2/up/team/app/blobs/${layers[0]?.digest}`)).status).toBe(200);
    await allEnded(spans);
    expect(named('GET blob').map(lineageOf)).toEqual([['GET blob', 'ingest', blobRoute]]);
    expect(named('GET blob')[0]?.attributes).toMatchObject({ 'http.response.body.size': 3 * MiB });
  });

  it('fails with the code of what went wrong here or upstream, and not for a client’s mistake', async () => {
    const { upstream, cache, named } = await tracedPair();
    upstream.on({ path: /manifests/ }, { status: 500 });
    expect((await cache.get(byTag)).status).toBeGreaterThan(499);
    expect((await cache.get('/v2/up/team/app/manifests/-x')).status).toBe(404);
    expect(named(manifestRoute)[0]?.failure).toBe('server-error');
    expect(named('GET manifest')[0]?.failure).toBe('500');
    expect(named('GET')[0]).toMatchObject({ attributes: { 'error.type': 'tag-invalid' } });
    expect(named('GET')[0]?.failure).toBeUndefined();
  });
});

describe('tracing that is at fault costs no pull', () => {
  const fails = () => {
    throw new Error('no spans today');
  };
  const faults: Record<string, Tracing['span']> = {
    'throws before it calls': fails,
    'throws after it called': (_start, run) => {
      run({ name: fails, set: fails, fail: fails, link: fails });
      return fails();
    },
    'calls twice': (_start, run) => {
      run({ name: fails, set: fails, fail: fails, link: fails });
      return run({ name: fails, set: fails, fail: fails, link: fails });
    },
    'does not call': () => undefined as never,
    'calls late': (_start, run) => {
      return Promise.resolve().then(() => run({ name: fails, set: fails, fail: fails, link: fails })) as never;
    },
    rejects: () => Promise.reject(new Error('no spans today')) as never,
  };
  it.each(Object.entries(faults))('one that %s', async (_name, span) => {
    const { upstream, cache } = await startPair({ prefetch: 'layers', cache: { tracing: { span } } });
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [MiB] });
    expect((await cache.get(byTag)).status).toBe(200);
    expect((await cache.get(byTag)).status).toBe(200);
    const blob = await cache.get(`/v2/up/team/app/blobs/${layers[0]?.digest}`);
    expect([blob.status, blob.body.byteLength]).toEqual([200, MiB]);
    expect(upstream.count({ method: 'GET', path: /manifests/ })).toBe(1);
    expect((await cache.get('/v2/up/team/none/manifests/1')).status).toBe(404);
  });
});

it('no span holds a URL, a token or a credential', async () => {
  const { upstream, cache, spans } = await tracedPair({
    fake: { auth: { bearer: { public: [], users: { alice: { password: 'sesame-open' } } } } },
    auth: { username: 'alice', password: 'sesame-open' },
  });
  const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [MiB] });
  await cache.get(byTag, { headers: { authorization: 'Basic c2VjcmV0OnNlY3JldA==' } });
  await cache.get(`/v2/up/team/app/blobs/${layers[0]?.digest}?ns=signature-of-a-client`);
  const text = JSON.stringify(spans, (key, value) => (key === 'parent' ? undefined : value));
  expect(text).toContain('proxycache.operation');
  for (const secret of ['sesame', 'Bearer', 'c2VjcmV0', '://', 'signature', 'alice'])
    expect(text).not.toContain(secret);
});
