import type { ProxyCacheEvent, UpstreamOptions } from '@proxycache/core';
import { type AddedImage, type FakeUpstream, flakyStore, gate } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { type CacheUnderTest, digestOfBody, startCache, startPair, startUpstream } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

const MiB = 1024 * 1024;
const layers = { prefetch: 'layers' } as const;
const blobs = { path: /\/blobs\// };
const byTag = '/v2/up/team/app/manifests/1';
const blobPath = (digest: string, repository = 'team/app') => `/v2/up/${repository}/blobs/${digest}`;

/** The blobs that the upstream was asked for, in order. */
const asked = (upstream: FakeUpstream) =>
  upstream.requests.filter(({ path }) => /\/blobs\//.test(path)).map(({ path }) => path.split('/').at(-1));

/** Config and layers, in the order in which clients ask. */
const childrenOf = ({ config, layers: own }: AddedImage) => [config, ...own].map(({ digest }) => digest);

const outcomes = (cache: CacheUnderTest) => cache.seen('ingest-ended').map(({ outcome }) => outcome);
const paused = (cache: CacheUnderTest) => cache.seen('prefetch-paused').map(({ reason, dropped }) => [reason, dropped]);

async function allStored(cache: CacheUnderTest, count: number): Promise<void> {
  await expect.poll(() => outcomes(cache)).toEqual(Array.from({ length: count }, () => 'stored'));
}

/** Some turns of the event loop, of requests and of the cache: what was about to happen has happened. */
async function settle(cache: CacheUnderTest): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await cache.get('/v2/');
    await cache.clock.advance(0);
  }
}

describe('43: a manifest that a client was given has its config and layers fetched ahead', () => {
  it('in the client’s order', async () => {
    const { upstream, cache } = await startPair({ ...layers, limits: { maxConnections: 4 } });
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [4000, 3000, 2000, 1000] });
    expect((await cache.get(byTag)).status).toBe(200);
    await allStored(cache, 5);
    expect(asked(upstream)).toEqual(childrenOf(image));
    expect(cache.seen('ingest-started').map(({ prefetch }) => prefetch)).toEqual([true, true, true, true, true]);
    upstream.clear();
    const pulled = await pullImage(cache, { path: '/v2/up/team/app', tag: '1' });
    expect([pulled.status, pulled.content.size, upstream.count(blobs)]).toEqual([200, 6, 0]);
  });

  it.each([
    [32, 2],
    [7, 1],
    [3, 0],
  ])('with %i connections, %i at a time', async (connections, most) => {
    const { upstream, cache } = await startPair({ ...layers, limits: { maxConnections: connections } });
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [4000, 3000, 2000, 1000] });
    const held = gate();
    upstream.on(blobs, { gate: held });
    await cache.get(byTag);
    await held.reachedBy(most);
    await settle(cache);
    expect(asked(upstream).sort()).toEqual(childrenOf(image).slice(0, most).sort());
    held.open();
    await allStored(cache, most === 0 ? 0 : 5);
  });

  it.each(['by tag', 'by digest', 'from what is stored'])('%s', async (how) => {
    const { upstream, cache } = await startPair(how === 'from what is stored' ? {} : layers);
    const image = upstream.addImage('team/app', { tag: '1' });
    if (how === 'from what is stored') {
      await cache.get(byTag);
      await cache.restart({ upstreams: [{ key: 'up', url: upstream.url, freshFor: '1h', ...layers }] });
    }
    const path = how === 'by tag' ? byTag : `/v2/up/team/app/manifests/${image.root.digest}`;
    expect((await cache.get(path)).status).toBe(200);
    await allStored(cache, 3);
    expect(asked(upstream).sort()).toEqual(childrenOf(image).sort());
  });

  it('not by default', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    await cache.get(byTag);
    await settle(cache);
    expect(asked(upstream)).toEqual([]);
  });

  it('not of an index, nor for a HEAD, a client that has the manifest, or a resolve() in code', async () => {
    const { upstream, cache } = await startPair({ ...layers, freshFor: '1h' });
    const image = upstream.addImage('team/app', { tag: '1' });
    upstream.addImage('team/many', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    expect((await cache.get('/v2/up/team/many/manifests/1')).status).toBe(200);
    expect((await cache.head(byTag)).status).toBe(200);
    expect((await cache.head(`/v2/up/team/app/manifests/${image.root.digest}`)).status).toBe(200);
    const headers = { 'if-none-match': `"${image.root.digest}"` };
    expect((await cache.get(byTag, { headers })).status).toBe(304);
    await cache.cache.resolve('up/team/app:1');
    await settle(cache);
    expect(asked(upstream)).toEqual([]);
  });

  it('not of layers that are elsewhere (`urls`), and of artifacts as of images', async () => {
    const { upstream, cache } = await startPair(layers);
    const [config, own, foreign] = ['{}', 'own', 'foreign'].map((text) => upstream.putBlob('team/app', text));
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      artifactType: 'application/vnd.example.sbom',
      config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: config, size: 2 },
      layers: [
        {
          mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
          digest: foreign,
          size: 7,
          urls: ['https://elsewhere.example/'],
        },
        { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: own, size: 3 },
      ],
    };
    upstream.putManifest('team/app', manifest, { tags: ['1'] });
    await cache.get(byTag);
    await allStored(cache, 2);
    await settle(cache);
    expect(asked(upstream).sort()).toEqual([config, own].sort());
  });

  it('not what is stored for another repository, whose proof is left to the client', async () => {
    const { upstream, cache } = await startPair(layers);
    const image = upstream.addImage('team/app', { tag: '1', seed: 'same' });
    upstream.addImage('other/app', { tag: '1', seed: 'same' });
    await cache.get(byTag);
    await allStored(cache, 3);
    upstream.clear();
    await cache.get('/v2/up/other/app/manifests/1');
    await settle(cache);
    expect(asked(upstream)).toEqual([]);
    expect((await cache.get(blobPath(image.config.digest, 'other/app'))).status).toBe(200);
    expect([upstream.count({ method: 'HEAD', ...blobs }), upstream.count({ method: 'GET', ...blobs })]).toEqual([1, 0]);
  });

  it('and looks at nothing again for a manifest of which all is stored, until some of it is missing', async () => {
    const stores: ReturnType<typeof flakyStore>[] = [];
    const wrapStorage = (storage: Parameters<typeof flakyStore>[0]) => {
      stores.push(flakyStore(storage));
      return stores[0]!;
    };
    const { upstream, cache } = await startPair({ ...layers, freshFor: '1h', mount: { wrapStorage } });
    const [store] = stores;
    const image = upstream.addImage('team/app', { tag: '1' });
    await cache.get(byTag);
    await allStored(cache, 3);
    const before = store!.calls('blobs.open');
    for (let i = 0; i < 3; i++) await cache.get(byTag);
    await settle(cache);
    expect(store!.calls('blobs.open')).toBe(before);

    upstream.clear();
    const { signal } = new AbortController();
    const [config, ...others] = childrenOf(image);
    for (const digest of [config!, ...others]) await store!.blobs.delete(digest, { signal });
    expect((await cache.get(blobPath(config!))).status).toBe(200);
    await cache.get(byTag);
    await allStored(cache, 6);
    expect(asked(upstream).sort()).toEqual([config, ...others].sort());
  });
});

describe('43: clients go first', () => {
  it('a blob that is asked for while it waits for its turn starts at once, and is fetched once', async () => {
    const { upstream, cache } = await startPair({ ...layers, limits: { maxConnections: 4 } });
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [4000, 3000, 2000] });
    const held = gate();
    upstream.on({ digest: image.config.digest }, { gate: held });
    await cache.get(byTag);
    await held.reached;
    const last = image.layers[2]!;
    const got = await cache.get(blobPath(last.digest));
    expect([got.status, digestOfBody(got.body)]).toEqual([200, last.digest]);
    expect(cache.seen('ingest-started').map(({ digest, prefetch }) => [digest, prefetch])).toEqual([
      [image.config.digest, true],
      [last.digest, undefined],
    ]);
    held.open();
    await allStored(cache, 4);
    expect(asked(upstream).sort()).toEqual(childrenOf(image).sort());
  });

  it.each([1, 5])('%i clients that pull meanwhile share the transfers: one request for each blob', async (clients) => {
    const { upstream, cache } = await startPair(layers);
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [2 * MiB, 3 * MiB, 40_000, 1000, 2 * MiB] });
    const pulls = Array.from({ length: clients }, () => pullImage(cache, { path: '/v2/up/team/app', tag: '1' }));
    for (const { status, content } of await Promise.all(pulls)) expect([status, content.size]).toEqual([200, 7]);
    await allStored(cache, 6);
    expect(asked(upstream).sort()).toEqual(childrenOf(image).sort());
  });

  it('what was begun is the client’s as soon as it asks, and makes room for the next', async () => {
    const { upstream, cache } = await startPair({ ...layers, limits: { maxConnections: 4 } });
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [4000, 3000] });
    const held = gate();
    upstream.on(blobs, { gate: held });
    await cache.get(byTag);
    await held.reached;
    const waiting = cache.get(blobPath(image.config.digest));
    await held.reachedBy(2);
    expect(asked(upstream)).toEqual(childrenOf(image).slice(0, 2));
    held.open();
    expect((await waiting).headers['cache-status']).toBe('proxycache; fwd=miss; fwd-status=200; stored; collapsed');
    await allStored(cache, 3);
  });

  it('what nobody asked for leaves the upstream to what somebody waits for, and runs as soon as it is asked for', async () => {
    const { upstream, cache } = await startPair(layers);
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [64 * MiB, 3000], seed: 'x' });
    const layer = image.layers[0]!;
    const begun = gate();
    upstream.on({ digest: layer.digest }, { gate: begun });
    await cache.get(byTag);
    await expect.poll(() => outcomes(cache)).toEqual(['stored', 'stored']);
    await cache.clock.advance(1_000);
    await begun.reached;
    const other = upstream.putBlob('team/app', 'other');
    const held = gate();
    upstream.on({ digest: other }, { gate: held });
    const waiting = cache.get(blobPath(other));
    await held.reached;
    begun.open();
    // No buffer on the way holds as much: what is not taken is not sent.
    await expect.poll(() => upstream.sentBytes({ digest: layer.digest })).toBeGreaterThan(0);
    await settle(cache);
    expect(upstream.sentBytes({ digest: layer.digest })).toBeLessThan(48 * MiB);
    const got = await cache.get(blobPath(layer.digest));
    expect(digestOfBody(got.body)).toBe(layer.digest);
    held.open();
    expect(digestOfBody((await waiting).body)).toBe(other);
    expect(upstream.count({ digest: layer.digest })).toBe(1);
  });

  it('what is large is begun only when no client has wanted anything of the upstream for a second', async () => {
    const { upstream, cache } = await startPair(layers);
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [2 * MiB, 3000, 3 * MiB] });
    const other = upstream.putBlob('team/app', 'other');
    const held = gate();
    upstream.on({ digest: other }, { gate: held });
    await cache.get(byTag);
    await expect.poll(() => outcomes(cache)).toEqual(['stored', 'stored']);
    await cache.clock.advance(999);
    const waiting = cache.get(blobPath(other));
    await held.reached;
    await cache.clock.advance(20_000);
    expect(asked(upstream).sort()).toEqual([image.config.digest, image.layers[1]!.digest, other].sort());
    held.open();
    await waiting;
    await allStored(cache, 3);
    await cache.clock.advance(2_000);
    await allStored(cache, 5);
    expect(asked(upstream).length).toBe(5);
  });

  it('what nobody asked for takes none of maxIngests from a client', async () => {
    const { upstream, cache } = await startPair({ ...layers, limits: { maxConnections: 4 }, cache: { maxIngests: 1 } });
    const image = upstream.addImage('team/app', { tag: '1' });
    const held = gate();
    upstream.on({ digest: image.config.digest }, { gate: held });
    await cache.get(byTag);
    await held.reached;
    expect((await cache.get(blobPath(image.layers[1]!.digest))).status).toBe(200);
    held.open();
    await allStored(cache, 3);
  });

  it('and does not begin while clients use all of maxIngests', async () => {
    const { upstream, cache } = await startPair({ ...layers, cache: { maxIngests: 1 } });
    upstream.addImage('team/app', { tag: '1' });
    const other = upstream.putBlob('team/app', 'other');
    const held = gate();
    upstream.on({ digest: other }, { gate: held });
    const waiting = cache.get(blobPath(other));
    await held.reached;
    expect((await cache.get(byTag)).status).toBe(200);
    await expect.poll(() => paused(cache)).toHaveLength(1);
    expect(paused(cache)[0]?.[0]).toBe('crowded');
    expect(asked(upstream)).toEqual([other]);
    held.open();
    expect((await waiting).status).toBe(200);
  });

  it('what nobody asked for is given up where a client would wait for its connection', async () => {
    const { upstream, cache } = await startPair({ ...layers, limits: { maxConnections: 4 } });
    const image = upstream.addImage('team/app', { tag: '1' });
    const others = ['a', 'b', 'c'].map((text) => upstream.putBlob('team/app', text));
    const held = gate();
    upstream.on(blobs, { gate: held });
    await cache.get(byTag);
    await held.reached;
    // Three of four connections are for blobs, and one of them has what nobody asked for.
    const waiting = others.map((digest) => cache.get(blobPath(digest)));
    await held.reachedBy(4);
    expect(paused(cache)).toEqual([['crowded', 2]]);
    await expect
      .poll(() => upstream.requests.find(({ path }) => path.includes(image.config.digest))?.aborted)
      .toBe(true);
    held.open();
    for (const { status } of await Promise.all(waiting)) expect(status).toBe(200);
    expect(asked(upstream).sort()).toEqual([image.config.digest, ...others].sort());
    expect((await cache.get(blobPath(image.config.digest))).status).toBe(200);
  });

  it('a client that took over what fails then has a try of its own', async () => {
    const { upstream, cache } = await startPair({ ...layers, limits: { maxConnections: 4 } });
    const image = upstream.addImage('team/app', { tag: '1' });
    const { digest } = image.config;
    const held = gate();
    upstream.on({ digest, times: 1 }, { gate: held });
    upstream.on({ digest, times: 1 }, { status: 500 });
    await cache.get(byTag);
    await held.reached;
    const waiting = cache.get(blobPath(digest));
    await allStored(cache, 2);
    held.open();
    const got = await waiting;
    expect([got.status, digestOfBody(got.body), upstream.count({ digest })]).toEqual([200, digest, 2]);
    expect(paused(cache)).toEqual([]);
  });

  it('a client that leaves what it asked for leaves it as any other', async () => {
    const { upstream, cache } = await startPair({ ...layers, limits: { maxConnections: 4 } });
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [1000] });
    const held = gate();
    upstream.on({ digest: image.config.digest }, { gate: held });
    await cache.get(byTag);
    await held.reached;
    const client = new AbortController();
    const left = cache.get(blobPath(image.config.digest), { signal: client.signal }).catch(() => 'left');
    await expect.poll(() => outcomes(cache)).toEqual(['stored']);
    client.abort();
    expect(await left).toBe('left');
    await expect.poll(() => outcomes(cache)).toEqual(['stored', 'failed']);
    held.open();
    expect((await cache.get(blobPath(image.config.digest))).status).toBe(200);
  });
});

describe('43: what goes wrong is told, and costs no client anything', () => {
  const pairWith = async (options: Partial<UpstreamOptions> = {}) => {
    const pair = await startPair({ ...layers, limits: { maxConnections: 4 }, ...options });
    const image = pair.upstream.addImage('team/app', { tag: '1' });
    pair.upstream.addImage('team/next', { tag: '1' });
    return { ...pair, image };
  };
  const nextManifest = '/v2/up/team/next/manifests/1';

  it('a blob that does not come: nothing more is fetched ahead for half a minute', async () => {
    const { upstream, cache, image } = await pairWith();
    upstream.on({ ...blobs, times: 1 }, { status: 500 });
    expect((await cache.get(byTag)).status).toBe(200);
    await expect.poll(() => paused(cache)).toEqual([['failed', 2]]);
    await expect.poll(() => outcomes(cache)).toEqual(['failed']);
    await cache.get(nextManifest);
    await settle(cache);
    expect(asked(upstream)).toEqual([image.config.digest]);
    expect((await cache.get(blobPath(image.config.digest))).status).toBe(200);
    await cache.clock.advance(30_000);
    // From memory.
    await cache.get(`/v2/up/team/app/manifests/${image.root.digest}`);
    await cache.get(nextManifest);
    await expect.poll(() => outcomes(cache).filter((outcome) => outcome === 'stored')).toHaveLength(6);
  });

  it('a blob that the upstream does not have: the others come', async () => {
    const { upstream, cache, image } = await pairWith();
    upstream.removeBlob('team/app', image.config.digest);
    await cache.get(byTag);
    await expect.poll(() => outcomes(cache)).toEqual(['refused', 'stored', 'stored']);
    expect(paused(cache)).toEqual([]);
    expect((await cache.get(blobPath(image.config.digest))).status).toBe(404);
  });

  it('429: nothing is fetched ahead, whatever it was an answer to', async () => {
    const { upstream, cache, image } = await pairWith();
    upstream.on({ path: /\/tags\/list/ }, { status: 429, headers: { 'retry-after': '60' } });
    expect((await cache.get('/v2/up/team/app/tags/list')).status).toBe(429);
    expect(cache.cache.upstreams.status()[0]?.limitedUntil).toBe(cache.clock.now() + 60_000);
    expect((await cache.get(byTag)).status).toBe(200);
    await expect.poll(() => paused(cache)).toEqual([['rate-limited', 2]]);
    expect(asked(upstream)).toEqual([]);
    await cache.clock.advance(60_000);
    expect(cache.cache.upstreams.status()[0]?.limitedUntil).toBeUndefined();
    await cache.get(byTag);
    await allStored(cache, 3);
    expect(asked(upstream)).toEqual(childrenOf(image));
  });

  it('a host that is down is not asked', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1' });
    await cache.get(byTag);
    const breaker = { failures: 1, openFor: '1m' } as const;
    await cache.restart({ upstreams: [{ key: 'up', url: upstream.url, ...layers, breaker }] });
    upstream.on({ path: /\/tags\/list/ }, { status: 500 });
    await cache.get('/v2/up/team/app/tags/list');
    expect(cache.cache.upstreams.status()[0]?.state).toBe('open');
    expect((await cache.get(`/v2/up/team/app/manifests/${image.root.digest}`)).status).toBe(200);
    await expect.poll(() => paused(cache)).toHaveLength(1);
    expect(paused(cache)[0]?.[0]).toBe('unavailable');
    expect(asked(upstream)).toEqual([]);
  });

  it('no room on the disk: nothing passes through here for nobody', async () => {
    const { upstream, cache } = await startPair({ ...layers, cache: { minFree: Number.MAX_SAFE_INTEGER } });
    const image = upstream.addImage('team/app', { tag: '1' });
    expect((await cache.get(byTag)).status).toBe(200);
    await expect.poll(() => paused(cache)).toHaveLength(1);
    expect(paused(cache)[0]?.[0]).toBe('storage');
    expect([cache.seen('passed-through'), asked(upstream)]).toEqual([[], []]);
    expect((await cache.get(blobPath(image.config.digest))).status).toBe(200);
  });

  it('a store that keeps nothing: it is not filled in vain', async () => {
    const stores: ReturnType<typeof flakyStore>[] = [];
    const wrapStorage = (storage: Parameters<typeof flakyStore>[0]) => {
      stores.push(flakyStore(storage));
      return stores[0]!;
    };
    // Nothing may wait for the store.
    const cacheOptions = { maxWaitingBytes: 0 };
    const { upstream, cache } = await startPair({
      ...layers,
      limits: { maxConnections: 4 },
      cache: cacheOptions,
      mount: { wrapStorage },
    });
    const image = upstream.addImage('team/app', { tag: '1' });
    stores[0]!.on('blobs.adopt', { fail: 'EIO' });
    await cache.get(byTag);
    await expect.poll(() => paused(cache)).toEqual([['storage', 2]]);
    expect(asked(upstream)).toEqual([image.config.digest]);
  });

  it('close() ends it at once', async () => {
    const { upstream, cache } = await pairWith();
    const held = gate();
    upstream.on(blobs, { gate: held });
    await cache.get(byTag);
    await held.reached;
    await cache.cache.close();
    await expect.poll(() => upstream.underWay()).toBe(0);
    expect([outcomes(cache), asked(upstream).length]).toEqual([['failed'], 1]);
  });

  it('close() ends what was about to begin', async () => {
    const stores: ReturnType<typeof flakyStore>[] = [];
    const wrapStorage = (storage: Parameters<typeof flakyStore>[0]) => {
      stores.push(flakyStore(storage));
      return stores[0]!;
    };
    const { upstream, cache } = await startPair({ ...layers, mount: { wrapStorage } });
    upstream.addImage('team/app', { tag: '1' });
    const slow = gate();
    await cache.head(byTag);
    stores[0]!.on('blobs.open', { gate: slow });
    const opened = cache.get(byTag);
    await slow.reached;
    slow.open();
    await opened;
    await cache.cache.close();
    await settle(cache).catch(() => undefined);
    expect(stores[0]!.openBlobs()).toBe(0);
    expect(cache.seen('ingest-started').length).toBe(cache.seen('ingest-ended').length);
  });
});

it('an upstream that fetches ahead does so for itself alone', async () => {
  const [one, other] = [await startUpstream(), await startUpstream()];
  const events: ProxyCacheEvent[] = [];
  const cache = await startCache({
    upstreams: [
      { key: 'up', url: one.url, ...layers },
      { key: 'other', url: other.url },
    ],
    observer: (event) => events.push(event),
  });
  one.addImage('team/app', { tag: '1' });
  other.addImage('team/app', { tag: '1', seed: 'other' });
  await cache.get('/v2/other/team/app/manifests/1');
  await cache.get(byTag);
  await expect.poll(() => events.filter(({ type }) => type === 'ingest-ended')).toHaveLength(3);
  expect([one.count(blobs), other.count(blobs)]).toEqual([3, 0]);
});
