import { fileStorage, localCoordinator, memoryStorage, type PurgeReport, systemClock } from '@proxycache/core';
import { chunkGate, flakyStore } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startCache, startPair, startUpstream } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

const KiB = 1024;

async function pull(cache: CacheUnderTest, repository: string, tag: string, key = 'up'): Promise<void> {
  const { status } = await pullImage(cache, { path: `/v2/${key}/${repository}`, tag });
  expect(status).toBe(200);
}

/** Pulled, and stored as far as anybody can see. */
async function stored(cache: CacheUnderTest, ...references: string[]): Promise<void> {
  for (const reference of references) {
    const [, key = '', repository = '', tag = ''] = /^(\w+)\/(.*):(.*)$/.exec(reference) ?? [];
    await pull(cache, repository, tag, key);
    await expect.poll(() => cache.cache.has(reference)).toBe(true);
  }
}

/** The digests of all stored files. */
async function files(cache: CacheUnderTest): Promise<string[]> {
  const digests: string[] = [];
  const { signal } = new AbortController();
  for await (const { digest } of fileStorage(cache.directory).blobs.digests({ signal })) digests.push(digest);
  return digests.sort();
}

const asked = (upstream: { requests: readonly { method: string; path: string }[] }) =>
  upstream.requests.map(({ method, path }) => `${method} ${path}`).sort();

/** The repositories that it lists. */
async function catalogOf(cache: CacheUnderTest): Promise<string[]> {
  return JSON.parse((await cache.get('/v2/_catalog')).body.toString()).repositories;
}

describe('what was purged is gone', () => {
  test('a tag, with its image: the next pull fetches all of it anew, also within freshFor', async () => {
    const { upstream, cache } = await startPair({ freshFor: '1h' });
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    await cache.cache.warm(['up/team/app:1']);
    const report = await cache.cache.purge({ reference: 'up/team/app:1' });
    expect(report).toMatchObject({ repositories: 1, tags: 1, manifests: 3, blobs: 6, files: 9, shared: 0, left: 0 });
    expect(report.bytes).toBe(
      [image.root, ...image.manifests, ...image.blobs].reduce((sum, { size }) => sum + size, 0),
    );
    expect(await files(cache)).toEqual([]);
    expect(await cache.cache.has('up/team/app:1')).toBe(false);
    upstream.clear();
    await pull(cache, 'team/app', '1');
    expect(upstream.count({ method: 'GET' })).toBe(5);
    expect(cache.seen('repository-swept')).toMatchObject([
      { upstream: 'up', repository: 'team/app', reason: 'purged' },
    ]);
  });

  test('a tag: what another tag of the repository needs stays, and is served without the upstream', async () => {
    const { upstream, cache } = await startPair();
    const kept = upstream.addImage('team/app', { tag: 'kept', layerSizes: [3000] });
    const gone = upstream.addImage('team/app', { tag: 'gone', layerSizes: [3000, 200], seed: 'team/app:kept' });
    await stored(cache, 'up/team/app:kept', 'up/team/app:gone');
    expect(await cache.cache.purge({ reference: 'up/team/app:gone' })).toMatchObject({
      tags: 1,
      manifests: 1,
      blobs: 2,
    });
    expect(await files(cache)).toEqual([kept.root, ...kept.blobs].map(({ digest }) => digest).sort());
    expect(gone.layers[0]?.digest).toBe(kept.layers[0]?.digest);
    await upstream.stop();
    expect(await cache.cache.has('up/team/app:kept')).toBe(true);
  });

  test('a digest, with the tags that stand for it, and what an index needs of it no more', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    await cache.cache.warm(['up/team/app:1']);
    const [first] = image.manifests;
    const reference = `up/team/app@${first?.digest}`;
    expect(await cache.cache.purge({ reference })).toMatchObject({ tags: 0, manifests: 1, blobs: 3, files: 4 });
    upstream.clear();
    await pull(cache, 'team/app', '1');
    const blobs = image.blobs.slice(0, 3).map(({ digest }) => `GET /v2/team/app/blobs/${digest}`);
    const manifest = `GET /v2/team/app/manifests/${first?.digest}`;
    expect(asked(upstream)).toEqual([...blobs, manifest, 'HEAD /v2/team/app/manifests/1'].sort());
    const whole = await cache.cache.purge({ reference: `up/team/app@${image.root.digest}` });
    expect(whole).toMatchObject({ tags: 1, manifests: 3 });
    const blob = `up/team/app@${image.config.digest}`;
    await pull(cache, 'team/app', '1');
    await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
    expect(await cache.cache.purge({ reference: blob })).toMatchObject({ tags: 0, manifests: 0, blobs: 1, files: 1 });
  });

  test('a repository, or all of an upstream; bytes that another repository has stay', async () => {
    const one = await startUpstream();
    const other = await startUpstream();
    const upstreams = [
      { key: 'one', url: one.url },
      { key: 'other', url: other.url, library: true },
    ];
    const cache = await startCache({ upstreams, catalog: true });
    for (const name of ['team/a', 'team/b', 'team/c']) one.addImage(name, { tag: '1', seed: 'same' });
    other.addImage('library/app', { tag: '1' });
    await stored(cache, 'one/team/a:1', 'one/team/b:1', 'one/team/c:1', 'other/library/app:1');
    const first = await cache.cache.purge({ upstream: 'one', repository: 'team/a' });
    expect(first).toMatchObject({ repositories: 1, tags: 1, manifests: 1, blobs: 3, files: 0, bytes: 0, shared: 4 });
    expect(await catalogOf(cache)).toEqual(['one/team/b', 'one/team/c', 'other/library/app']);
    one.clear();
    await pull(cache, 'team/a', '1', 'one');
    expect(one.count({ method: 'GET', path: /blobs/ })).toBe(0);
    expect(one.count({ method: 'HEAD', path: /blobs/ })).toBe(3);
    expect(await cache.cache.purge({ upstream: 'one' })).toMatchObject({
      repositories: 3,
      tags: 3,
      blobs: 9,
      files: 4,
    });
    expect(await catalogOf(cache)).toEqual(['other/library/app']);
    expect(await cache.cache.has('other/library/app:1')).toBe(true);
    expect(await cache.cache.purge({ upstream: 'other', repository: 'app' })).toMatchObject({ tags: 1, files: 4 });
    expect(await files(cache)).toEqual([]);
  });

  test('all of an upstream that is there no more', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    await stored(cache, 'up/team/app:1');
    await cache.restart({ upstreams: [{ key: 'now', url: upstream.url }] });
    expect(await cache.cache.purge({ upstream: 'up' })).toMatchObject({ tags: 1, manifests: 1, blobs: 3, files: 4 });
  });

  test('a tag of a group, from the member that owns it; the group itself is no upstream', async () => {
    const upstream = await startUpstream();
    upstream.addImage('team/app', { tag: '1' });
    const cache = await startCache({
      upstreams: [{ key: 'up', url: upstream.url }],
      groups: [{ key: 'all', upstreams: ['up'] }],
    });
    await stored(cache, 'all/team/app:1');
    expect(await cache.cache.purge({ reference: 'all/team/app:1' })).toMatchObject({ tags: 1, blobs: 3, files: 4 });
    await expect(cache.cache.purge({ upstream: 'all' })).rejects.toThrow('all is a group; purge its members: up');
  });

  test('what the upstream did not have is asked for again, though absentFor is not over', async () => {
    const { upstream, cache } = await startPair({ absentFor: '1h' });
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(404);
    upstream.addImage('team/app', { tag: '1' });
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(404);
    await cache.cache.purge({ reference: 'up/team/app:1' });
    await pull(cache, 'team/app', '1');
  });

  test('a repository, which comes back to the catalog with the next pull of any replica', async () => {
    const upstream = await startUpstream();
    upstream.addImage('team/app', { tag: '1' });
    const upstreams = [{ key: 'up', url: upstream.url }];
    const storage = { ...memoryStorage(), coordinator: localCoordinator() };
    const options = { upstreams, storage, catalog: true };
    const [here, there] = [await startCache(options), await startCache(options)];
    for (const cache of [here, there]) {
      expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
      expect(await catalogOf(here)).toEqual(['up/team/app']);
      await there.cache.purge({ upstream: 'up' });
      expect([await catalogOf(here), await catalogOf(there)]).toEqual([[], []]);
    }
    await here.get('/v2/up/team/app/manifests/1');
    expect([await catalogOf(here), await catalogOf(there)]).toEqual([['up/team/app'], ['up/team/app']]);
  });

  test('for the other replicas, too: none of them serves it from memory', async () => {
    const upstream = await startUpstream();
    const upstreams = [{ key: 'up', url: upstream.url, freshFor: '1h' }] as const;
    const storage = { ...memoryStorage(), coordinator: localCoordinator() };
    // They wait for one another by a clock that runs.
    const options = { upstreams, storage, clock: systemClock };
    const [here, there] = [await startCache(options), await startCache(options)];
    const old = upstream.addImage('team/app', { tag: '1', seed: 'old' });
    await stored(here, 'up/team/app:1');
    await stored(there, 'up/team/app:1');
    const secret = old.layers[0]?.digest;
    upstream.addImage('team/app', { tag: '1', seed: 'new' });
    upstream.on({ path: `/v2/team/app/blobs/${secret}` }, { status: 404 });
    await here.cache.purge({ upstream: 'up', repository: 'team/app' });
    const at = { path: '/v2/up/team/app', tag: '1' };
    const digests = await Promise.all([here, there].map(async (cache) => (await pullImage(cache, at)).digest));
    expect(new Set(digests).size).toBe(1);
    expect(digests[0]).not.toBe(old.root.digest);
    for (const cache of [here, there]) {
      expect((await cache.get(`/v2/up/team/app/blobs/${secret}`)).status).toBe(404);
      expect((await cache.get(`/v2/up/team/app/manifests/${old.root.digest}`)).status).toBe(200);
    }
    expect(upstream.count({ path: `/v2/team/app/manifests/${old.root.digest}` })).toBeGreaterThan(0);
  });
});

test.each([
  ['a message did not reach', true],
  ['no message is sent to', false],
])('a process that %s served what was purged from memory for a minute at most', async (_, isDeaf) => {
  const upstream = await startUpstream();
  const upstreams = [{ key: 'up', url: upstream.url }];
  const storage = memoryStorage();
  const coordinator = localCoordinator();
  const deaf = { ...coordinator, subscribe: () => () => undefined };
  const here = await startCache({ upstreams, catalog: true, storage: isDeaf ? { ...storage, coordinator } : storage });
  const there = await startCache({
    upstreams,
    catalog: true,
    storage: isDeaf ? { ...storage, coordinator: deaf } : storage,
  });
  const image = upstream.addImage('team/app', { tag: '1' });
  await stored(here, 'up/team/app:1');
  await stored(there, 'up/team/app:1');
  upstream.on({}, { status: 404 });
  await here.cache.purge({ upstream: 'up', repository: 'team/app' });
  await there.clock.advance(60_000);
  for (const path of ['manifests/1', `manifests/${image.root.digest}`, `blobs/${image.config.digest}`]) {
    expect((await there.get(`/v2/up/team/app/${path}`)).status).toBe(404);
  }
  expect(await catalogOf(there)).toEqual([]);
});

test('a store that does not answer whether something was purged is not left alone for that', async () => {
  const storage = flakyStore(memoryStorage());
  const { upstream, cache } = await startPair({ cache: { storage }, freshFor: '1h' });
  upstream.addImage('team/app', { tag: '1' });
  await stored(cache, 'up/team/app:1');
  storage.on('metadata.get', { hang: true });
  const before = storage.calls('metadata.get');
  // Three times it does not answer within 3 s, the last time just now.
  await cache.clock.advance(160_000);
  expect(storage.calls('metadata.get') - before).toBe(3);
  storage.heal();
  upstream.addImage('team/other', { tag: '1' });
  await pull(cache, 'team/other', '1');
  expect(cache.seen('store-failed')).toEqual([]);
});

describe('while others are at it', () => {
  test('a client that reads what goes gets all of it', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [40_000 * KiB] });
    await stored(cache, 'up/team/app:1');
    const response = await fetch(`${cache.url}/v2/up/team/app/blobs/${image.layers[0]?.digest}`);
    const reader = response.body!.getReader();
    let bytes = (await reader.read()).value?.byteLength ?? 0;
    expect(await cache.cache.purge({ reference: 'up/team/app:1' })).toMatchObject({ files: 3, left: 0 });
    expect(await files(cache)).toEqual([]);
    for (let part = await reader.read(); !part.done; part = await reader.read()) bytes += part.value.byteLength;
    expect(bytes).toBe(40_000 * KiB);
    upstream.clear();
    await pull(cache, 'team/app', '1');
    expect(upstream.count({ method: 'GET' })).toBe(3);
  });

  test('what comes in meanwhile ends whole, and is stored', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3000 * KiB] });
    const { digest } = image.layers[0]!;
    const chunks = chunkGate(100 * KiB);
    upstream.on({ method: 'GET', digest }, { throttle: chunks });
    await cache.get('/v2/up/team/app/manifests/1');
    chunks.allow(2);
    const client = await fetch(`${cache.url}/v2/up/team/app/blobs/${digest}`);
    await cache.cache.purge({ upstream: 'up' });
    chunks.open();
    expect((await client.arrayBuffer()).byteLength).toBe(3000 * KiB);
    await expect.poll(() => cache.seen('ingest-ended').map(({ outcome }) => outcome)).toEqual(['stored']);
    expect((await cache.get(`/v2/up/team/app/blobs/${digest}`)).status).toBe(200);
    expect(upstream.count({ method: 'GET', digest })).toBe(1);
  });

  test('a repository that was pulled from meanwhile stays in the catalog', async () => {
    const { metadata, ...storage } = memoryStorage();
    let meanwhile: (() => Promise<unknown>) | undefined;
    const remove: typeof metadata.delete = async (key, options) => {
      if (key.startsWith('repository/')) await meanwhile?.();
      return metadata.delete(key, options);
    };
    const { upstream, cache } = await startPair({
      cache: { storage: { ...storage, metadata: { ...metadata, delete: remove } }, catalog: true },
    });
    upstream.addImage('team/app', { tag: '1' });
    await cache.get('/v2/up/team/app/manifests/1');
    expect(await catalogOf(cache)).toEqual(['up/team/app']);
    meanwhile = async () => {
      expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
      await catalogOf(cache);
    };
    await cache.cache.purge({ upstream: 'up' });
    expect(await catalogOf(cache)).toEqual(['up/team/app']);
  });

  test('clients that pull again and again get whole images, whatever is purged how often', async () => {
    const { upstream, cache } = await startPair();
    const tags = ['1', '2', '3'];
    for (const tag of tags) upstream.addImage('team/app', { tag, layerSizes: [3000, 50] });
    let isOver = false;
    const clients = tags.map(async (tag) => {
      let pulls = 0;
      for (; !isOver || pulls < 3; pulls++) await pull(cache, 'team/app', tag);
      return pulls;
    });
    for (let round = 0; round < 20; round++) {
      const reference = `up/team/app:${tags[round % 3]}`;
      await cache.cache.purge(round % 4 === 3 ? { upstream: 'up' } : { reference });
    }
    isOver = true;
    for (const pulls of await Promise.all(clients)) expect(pulls).toBeGreaterThan(0);
  });
});

test('it tells how far it has come, and can be cancelled', async () => {
  const { upstream, cache } = await startPair();
  for (const tag of ['1', '2']) upstream.addImage(`team/app${tag}`, { tag });
  await stored(cache, 'up/team/app1:1', 'up/team/app2:2');
  const stop = new AbortController();
  const seen: PurgeReport[] = [];
  const purging = cache.cache.purge(
    { upstream: 'up' },
    {
      signal: stop.signal,
      onProgress(soFar) {
        seen.push(soFar);
        if (soFar.repositories === 1 && soFar.blobs === 3) stop.abort(new Error('enough'));
      },
    },
  );
  await expect(purging).rejects.toThrow('enough');
  expect(seen.at(-1)).toMatchObject({ repositories: 1, blobs: 3, files: 0 });
  expect(await cache.cache.purge({ upstream: 'up' })).toMatchObject({ tags: 1, manifests: 1, blobs: 3 });
});

test('a store that notes nothing of it: what was purged is told all the same, and an end keeps its reason', async () => {
  const storage = flakyStore(memoryStorage());
  const { upstream, cache } = await startPair({ cache: { storage } });
  for (const tag of ['1', '2']) upstream.addImage(`team/app${tag}`, { tag });
  await stored(cache, 'up/team/app1:1', 'up/team/app2:2');
  storage.on('metadata.set', { fail: 'read-only' });
  expect(await cache.cache.purge({ reference: 'up/team/app1:1' })).toMatchObject({ tags: 1, blobs: 3, files: 4 });
  expect(cache.seen('store-failed')).toContainEqual(
    expect.objectContaining({ operation: 'metadata-set', subject: 'purged/last', error: 'could not set: read-only' }),
  );
  const stop = new AbortController();
  const onProgress = () => stop.abort(new Error('enough'));
  await expect(cache.cache.purge({ upstream: 'up' }, { signal: stop.signal, onProgress })).rejects.toThrow('enough');
});

test('a store that removes nothing: its bytes stay, are told, and are not served without the upstream’s word', async () => {
  const storage = flakyStore(memoryStorage());
  const { upstream, cache } = await startPair({ cache: { storage } });
  const image = upstream.addImage('team/app', { tag: '1' });
  await stored(cache, 'up/team/app:1');
  storage.on('blobs.delete', { fail: 'read-only' });
  expect(await cache.cache.purge({ upstream: 'up' })).toMatchObject({ tags: 1, blobs: 3, files: 0, left: 4 });
  upstream.clear();
  upstream.on({}, { status: 404 });
  expect((await cache.get(`/v2/up/team/app/blobs/${image.config.digest}`)).status).toBe(404);
  storage.on('metadata.list', { fail: 'away' });
  await expect(cache.cache.purge({ upstream: 'up' })).rejects.toThrow();
});

test.each([
  [{}, 'purge: upstream: expected a text'],
  ['up/app', 'purge: expected an object'],
  [{ reference: 1 }, 'purge: reference: expected a text'],
  [{ reference: 'up/app', upstream: 'up' }, 'purge.upstream: there is no such option'],
  [{ upstream: 'up', repo: 'a' }, 'purge.repo: there is no such option'],
  [{ upstream: 'up', repository: undefined }, 'purge: repository: expected a text, or to be left out'],
  [{ upstream: 'upp' }, `purge: "upp" is no upstream's key, and nothing is stored of it`],
  [{ upstream: 'UP' }, 'purge: upstream: expected only lowercase letters, digits, ".", "_" and "-", received "UP"'],
  [
    { upstream: '\ud800' },
    'purge: upstream: expected only lowercase letters, digits, ".", "_" and "-", received "\\ud800"',
  ],
  [{ upstream: 'upp', repository: 'app' }, `purge: "upp" is no upstream's key, and nothing is stored of it`],
  [{ reference: 'nowhere/app:1' }, 'nowhere/app names no upstream'],
  [{ reference: 'up/app:*' }, 'is not a legal tag'],
  [{ upstream: 'up', repository: 'A/..' }, 'is not a legal repository name'],
])('what is wrong is named', async (what, message) => {
  const { cache } = await startPair();
  await expect(cache.cache.purge(what as never)).rejects.toThrow(message);
});

test('a cache that is closed purges nothing', async () => {
  const { cache } = await startPair();
  await cache.cache.close();
  await expect(cache.cache.purge({ upstream: 'up' })).rejects.toMatchObject({ code: 'closed' });
});
