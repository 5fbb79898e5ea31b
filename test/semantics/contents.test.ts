import { fileStorage, memoryStorage } from '@proxycache/core';
import { flakyStore } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { startCache, startPair, startUpstream } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

const inApp = { upstream: 'up', repository: 'team/app' };

describe('the tags of a repository, as they are stored', () => {
  test('tell what each stands for, how much of it is here, and when it was last asked about and used', async () => {
    const { upstream, cache } = await startPair({ freshFor: '1m' });
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3_000, 2_000] });
    await pullImage(cache, { path: '/v2/up/team/app', tag: '1' });
    const at = cache.clock.now();
    const size = [image.root, ...image.blobs].reduce((sum, one) => sum + one.size, 0);
    const told = {
      tag: '1',
      state: 'fresh',
      digest: image.root.digest,
      mediaType: image.root.mediaType,
      ...{ complete: true, storedBytes: size },
      ...{ validatedAt: at, usedAt: at },
    };
    expect(await cache.cache.contents.tags(inApp)).toEqual({ tags: [told] });

    upstream.clear();
    cache.clock.set(at + 61_000);
    expect((await cache.cache.contents.tags(inApp)).tags).toEqual([{ ...told, state: 'stale' }]);
    expect(upstream.requests).toEqual([]);
  });

  test('tell the platforms of an index that are here whole', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64/v8'] });
    const path = '/v2/up/team/app';
    await cache.get(`${path}/manifests/1`);
    const [only] = (await cache.cache.contents.tags(inApp)).tags;
    expect(only).toMatchObject({ complete: false, platforms: [], storedBytes: image.root.size });
    await pullImage(cache, { path, tag: '1' });
    const [amd] = (await cache.cache.contents.tags(inApp)).tags;
    expect(amd).toMatchObject({ complete: true, platforms: ['linux/amd64'] });
    for (const { digest } of image.manifests) await cache.get(`${path}/manifests/${digest}`);
    for (const { digest } of image.blobs) await cache.get(`${path}/blobs/${digest}`);
    const [both] = (await cache.cache.contents.tags(inApp)).tags;
    const bytes = new Map([image.root, ...image.manifests, ...image.blobs].map(({ digest, size }) => [digest, size]));
    expect(both?.platforms).toEqual(['linux/amd64', 'linux/arm64/v8']);
    expect(both?.storedBytes).toBe([...bytes.values()].reduce((sum, one) => sum + one, 0));
  });

  test('do not tell an index to be whole of which only the attestation is here', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'unknown/unknown'] });
    const path = '/v2/up/team/app';
    const attestation = image.manifests[1]!;
    const blobs = image.blobs.slice(1 + image.layers.length);
    await cache.get(`${path}/manifests/1`);
    await cache.get(`${path}/manifests/${attestation.digest}`);
    for (const { digest } of blobs) await cache.get(`${path}/blobs/${digest}`);
    await expect.poll(() => cache.cache.has(`up/team/app@${attestation.digest}`)).toBe(true);
    const [told] = (await cache.cache.contents.tags(inApp)).tags;
    const storedBytes = [image.root, attestation, ...blobs].reduce((sum, { size }) => sum + size, 0);
    expect(told).toMatchObject({ complete: false, platforms: [], storedBytes });
    await pullImage(cache, { path, tag: '1' });
    await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
    const [whole] = (await cache.cache.contents.tags(inApp)).tags;
    expect(whole).toMatchObject({ complete: true, platforms: ['linux/amd64'] });
  });

  test('tell that a layer is missing', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, { path: '/v2/up/team/app', tag: '1' });
    const [layer] = image.layers;
    const { signal } = new AbortController();
    await fileStorage(cache.directory).blobs.delete(layer!.digest, { signal });
    const [whole] = (await cache.cache.contents.tags(inApp)).tags;
    expect(whole?.complete).toBe(false);
  });

  test('tell those that are known by name alone, absent and denied', async () => {
    const { upstream, cache } = await startPair();
    for (const tag of ['gone', 'known', 'secret']) upstream.addImage('team/app', { tag });
    await pullImage(cache, { path: '/v2/up/team/app', tag: 'gone' });
    await pullImage(cache, { path: '/v2/up/team/app', tag: 'secret' });
    await cache.head('/v2/up/team/app/manifests/known');
    upstream.removeTag('team/app', 'gone');
    await cache.get('/v2/up/team/app/manifests/gone');
    upstream.on({ path: '/v2/team/app/manifests/secret' }, { status: 403 });
    await cache.get('/v2/up/team/app/manifests/secret');
    const { tags } = await cache.cache.contents.tags(inApp);
    expect(tags.map(({ tag, state, complete }) => [tag, state, complete])).toEqual([
      ['gone', 'absent', true],
      ['known', 'known', false],
      ['secret', 'denied', true],
    ]);
  });

  test('come page by page, in order, each once', async () => {
    const { upstream, cache } = await startPair();
    const all = Array.from({ length: 7 }, (_, index) => `t${index}`);
    for (const tag of all) upstream.addImage('team/app', { tag, layerSizes: [10] });
    for (const tag of all) await cache.get(`/v2/up/team/app/manifests/${tag}`);
    const seen: string[] = [];
    const pages: number[] = [];
    for (let after: string | undefined, more = true; more; ) {
      const page = await cache.cache.contents.tags({ ...inApp, limit: 3, ...(after !== undefined && { after }) });
      seen.push(...page.tags.map(({ tag }) => tag));
      pages.push(page.tags.length);
      after = page.next;
      more = after !== undefined;
    }
    expect(seen).toEqual(all);
    expect(pages).toEqual([3, 3, 1]);
    expect((await cache.cache.contents.tags({ ...inApp, limit: 7 })).next).toBeUndefined();
  });
});

describe('the manifests of a repository', () => {
  test('are those that its upstream proved it has, pulled by a tag or not', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    await pullImage(cache, { path: '/v2/up/team/app', tag: '1' });
    const [child] = image.manifests;
    const { manifests, next } = await cache.cache.contents.manifests(inApp);
    expect(next).toBeUndefined();
    expect(manifests.map(({ digest }) => digest)).toEqual([image.root.digest, child!.digest].sort());
    const at = cache.clock.now();
    for (const one of manifests) expect(one).toMatchObject({ complete: true, provenAt: at, usedAt: at });
    const { size, mediaType, digest } = child!;
    expect(manifests).toContainEqual(expect.objectContaining({ digest, size, mediaType }));
  });

  test('come page by page', async () => {
    const { upstream, cache } = await startPair();
    const digests = ['a', 'b', 'c'].map((tag) => upstream.addImage('team/app', { tag, layerSizes: [10] }).root.digest);
    for (const tag of ['a', 'b', 'c']) await cache.get(`/v2/up/team/app/manifests/${tag}`);
    const first = await cache.cache.contents.manifests({ ...inApp, limit: 2 });
    const last = await cache.cache.contents.manifests({ ...inApp, limit: 2, after: first.next! });
    expect(last.next).toBeUndefined();
    expect([...first.manifests, ...last.manifests].map(({ digest }) => digest)).toEqual(digests.sort());
  });
});

describe('the repositories that something is stored of', () => {
  test('are listed over all upstreams, or of one, page by page', async () => {
    const [one, other] = [await startUpstream(), await startUpstream()];
    const upstreams = [
      { key: 'two', url: other.url },
      { key: 'one', url: one.url },
    ];
    const cache = await startCache({ upstreams });
    const places = [
      [one, 'one', 'b'],
      [one, 'one', 'a/b'],
      [other, 'two', 'a'],
    ] as const;
    for (const [upstream, key, repository] of places) {
      upstream.addImage(repository, { tag: '1', layerSizes: [10] });
      await cache.get(`/v2/${key}/${repository}/manifests/1`);
    }
    const all = [
      { upstream: 'one', repository: 'a/b' },
      { upstream: 'one', repository: 'b' },
      { upstream: 'two', repository: 'a' },
    ];
    const { contents } = cache.cache;
    expect(await contents.repositories()).toEqual({ repositories: all });
    expect(await contents.repositories({ upstream: 'two' })).toEqual({ repositories: all.slice(2) });
    const first = await contents.repositories({ limit: 2 });
    expect(first).toEqual({ repositories: all.slice(0, 2), next: 'one/b' });
    expect(await contents.repositories({ limit: 2, after: 'one/b' })).toEqual({ repositories: all.slice(2) });
  });
});

describe('what is asked wrongly', () => {
  test.each([
    [{ upstream: 'other', repository: 'a' }, 'name-unknown'],
    [{ upstream: 'up', repository: 'A' }, 'name-invalid'],
    [{ upstream: 'up', repository: '../a' }, 'name-invalid'],
    [{ upstream: 'up', repository: 'a', limit: 0 }, 'invalid-options'],
    [{ upstream: 'up', repository: 'a', limit: 1001 }, 'invalid-options'],
    [{ upstream: 'up', repository: 'a', after: 1 as never }, 'invalid-options'],
  ])('is said to be: %j', async (query, code) => {
    const { cache } = await startPair();
    await expect(cache.cache.contents.tags(query)).rejects.toMatchObject({ code });
    await expect(cache.cache.contents.manifests(query)).rejects.toMatchObject({ code });
  });

  test('is what each caller of an upstream sees for itself', async () => {
    const { cache } = await startPair({ credentials: 'caller' });
    await expect(cache.cache.contents.tags(inApp)).rejects.toMatchObject({ code: 'unsupported' });
  });

  test('is anything of a cache that is closed', async () => {
    const { cache } = await startPair();
    await cache.cache.close({ graceMs: 0 });
    await expect(cache.cache.contents.repositories()).rejects.toMatchObject({ code: 'closed' });
  });

  test('ends with its signal', async () => {
    const { cache } = await startPair();
    const reason = new Error('no more');
    const signal = AbortSignal.abort(reason);
    await expect(cache.cache.contents.tags({ ...inApp, signal })).rejects.toThrow('no more');
  });
});

test('a metadata store that is away is said to be, and no empty list is told', async () => {
  const flaky = flakyStore(memoryStorage());
  const { upstream, cache } = await startPair({ cache: { storage: flaky } });
  upstream.addImage('team/app', { tag: '1' });
  await pullImage(cache, { path: '/v2/up/team/app', tag: '1' });
  flaky.on('metadata.list', { fail: 'away' });
  for (const asked of [
    cache.cache.contents.tags(inApp),
    cache.cache.contents.manifests(inApp),
    cache.cache.contents.repositories(),
  ]) {
    await expect(asked).rejects.toMatchObject({ code: 'storage-failed' });
  }
});

test('what is listed is as it was after a restart', async () => {
  const { upstream, cache } = await startPair();
  upstream.addImage('team/app', { tag: '1' });
  await pullImage(cache, { path: '/v2/up/team/app', tag: '1' });
  const list = async () => [await cache.cache.contents.tags(inApp), await cache.cache.contents.manifests(inApp)];
  const before = await list();
  await cache.restart();
  expect(await list()).toEqual(before);
});
