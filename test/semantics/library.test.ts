import { memoryStorage } from '@proxycache/core';
import { flakyStore } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { startCache, startPair, startUpstream } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

const at = { path: '/v2/up/team/app', tag: '1' };

describe('has: would an image be pulled whole if its upstream failed now?', () => {
  test('not before it was pulled, and not before all of it was', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1' });
    const references = ['up/team/app:1', `up/team/app@${image.root.digest}`, `up/team/app:1@${image.root.digest}`];
    const has = () => Promise.all(references.map((reference) => cache.cache.has(reference)));
    expect(await has()).toEqual([false, false, false]);
    await cache.get('/v2/up/team/app/manifests/1');
    for (const blob of image.blobs) {
      expect(await has()).toEqual([false, false, false]);
      await cache.get(`/v2/up/team/app/blobs/${blob.digest}`);
    }
    await expect.poll(has).toEqual([true, true, true]);
    upstream.clear();
    await cache.restart();
    expect(await has()).toEqual([true, true, true]);
    expect(upstream.requests).toEqual([]);
  });

  test('of an index any one platform is enough, and a tag taken by HEAD and digest counts', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    await pullImage(cache, at, 'head-then-digest');
    await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
  });

  test('what another repository pulled does not count: its own proof is wanted', async () => {
    // Of one that is known to be down, blobs would wait for its return.
    const { upstream, cache } = await startPair({ breaker: { failures: 100 } });
    for (const name of ['team/app', 'team/other']) upstream.addImage(name, { tag: '1', seed: 'same' });
    await pullImage(cache, at);
    await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
    await cache.get('/v2/up/team/other/manifests/1');
    expect(await cache.cache.has('up/team/other:1')).toBe(false);
    await upstream.stop();
    expect((await pullImage(cache, { path: '/v2/up/team/other', tag: '1' }, 'get-by-tag')).status).toBe(502);
  });

  test('what the rules would not serve does not count: absent, denied, too old', async () => {
    const { upstream, cache } = await startPair({ staleIfErrorFor: '1h' });
    const image = upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
    await cache.clock.advance(3_600_000);
    expect(await cache.cache.has('up/team/app:1')).toBe(false);
    await pullImage(cache, at);
    expect(await cache.cache.has('up/team/app:1')).toBe(true);
    upstream.removeTag('team/app', '1');
    await pullImage(cache, at);
    expect(await cache.cache.has('up/team/app:1')).toBe(false);
    expect(await cache.cache.has(`up/team/app@${image.root.digest}`)).toBe(true);
    upstream.tag('team/app', '1', image.root.digest);
    upstream.on({}, { status: 403 });
    await pullImage(cache, at);
    expect(await cache.cache.has('up/team/app:1')).toBe(false);
  });

  test("what onAbsent 'serve-stale' serves counts", async () => {
    const { upstream, cache } = await startPair({ onAbsent: 'serve-stale' });
    upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
    upstream.removeTag('team/app', '1');
    await pullImage(cache, at);
    expect(await cache.cache.has('up/team/app:1')).toBe(true);
  });

  test('the last image that was pulled whole counts for a tag whose newer one is not', async () => {
    const { upstream, cache } = await startPair();
    const whole = upstream.addImage('team/app', { tag: '1', seed: 'old' });
    await pullImage(cache, at);
    await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
    const changed = upstream.addImage('team/app', { tag: '1', seed: 'new' });
    await cache.get('/v2/up/team/app/manifests/1');
    expect(await cache.cache.has(`up/team/app@${changed.root.digest}`)).toBe(false);
    expect(await cache.cache.has('up/team/app:1')).toBe(true);
    await upstream.stop();
    expect((await pullImage(cache, at)).digest).toBe(whole.root.digest);
  });

  test('a store that fails has nothing, and throws nothing', async () => {
    const storage = flakyStore(memoryStorage());
    const { upstream, cache } = await startPair({ cache: { storage } });
    upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
    storage.on('blobs.open', { fail: 'disk gone' });
    expect(await cache.cache.has('up/team/app:1')).toBe(false);
    storage.heal();
    await cache.restart();
    storage.on('metadata.get', { fail: 'disk gone' });
    expect(await cache.cache.has('up/team/app:1')).toBe(false);
    expect(storage.openBlobs()).toBe(0);
  });

  test('indexes that share their children are looked at once each, however they are nested', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: 'leaf' });
    const index = (manifests: readonly object[]) =>
      upstream.putManifest('team/app', {
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.index.v1+json',
        manifests,
      });
    let level = [image.root, image.root];
    for (let depth = 0; depth < 40; depth++) {
      // Two indexes over both of the level below: 2^40 ways down.
      level = [index(level), index([...level].reverse())];
      for (const { digest } of level) await cache.get(`/v2/up/team/app/manifests/${digest}`);
    }
    await cache.get(`/v2/up/team/app/manifests/${image.root.digest}`);
    expect(await cache.cache.has(`up/team/app@${level[0]!.digest}`)).toBe(false);
    for (const { digest } of image.blobs) await cache.get(`/v2/up/team/app/blobs/${digest}`);
    await expect.poll(() => cache.cache.has(`up/team/app@${level[0]!.digest}`)).toBe(true);
  });
});

describe('resolve: what does a reference mean now?', () => {
  test('the descriptor, by one HEAD; from the record while it is fresh', async () => {
    const { upstream, cache } = await startPair({ freshFor: '10s' });
    const image = upstream.addImage('team/app', { tag: 'latest' });
    expect(await cache.cache.resolve('up/team/app')).toEqual(image.root);
    expect(upstream.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'HEAD /v2/team/app/manifests/latest',
    ]);
    await cache.get('/v2/up/team/app/manifests/latest');
    upstream.clear();
    expect(await cache.cache.resolve('up/team/app:latest')).toEqual(image.root);
    expect(await cache.cache.resolve(`up/team/app@${image.root.digest}`)).toEqual(image.root);
    expect(upstream.requests).toEqual([]);
  });

  test('by the default upstream, and with library/ where that upstream says so', async () => {
    const upstream = await startUpstream();
    const image = upstream.addImage('library/alpine', { tag: '3' });
    const cache = await startCache({
      upstreams: [{ key: 'hub', url: upstream.url, library: true }],
      defaultUpstream: 'hub',
    });
    expect(await cache.cache.resolve('alpine:3')).toEqual(image.root);
    expect(await cache.cache.resolve('hub/alpine:3')).toEqual(image.root);
  });

  test('the stored image while the upstream fails; an error by its own code where there is none', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1' });
    await expect(cache.cache.resolve('up/team/app:2')).rejects.toMatchObject({ code: 'manifest-unknown' });
    await pullImage(cache, at);
    await upstream.stop();
    expect(await cache.cache.resolve('up/team/app:1')).toEqual(image.root);
    await expect(cache.cache.resolve('up/team/app:2')).rejects.toMatchObject({ code: 'unreachable', upstream: 'up' });
  });

  test.each([
    ['up/Team/app:1', 'name-invalid'],
    ['', 'name-invalid'],
    ['up/team/app:-x', 'tag-invalid'],
    ['up/team/app@sha256:abc', 'digest-invalid'],
    ['up/team/app@1', 'digest-invalid'],
    ['nobody/app:1', 'name-unknown'],
    ['app', 'name-unknown'],
  ])('%j is refused with %s, by has, too', async (reference, code) => {
    const { cache } = await startPair();
    await expect(cache.cache.resolve(reference)).rejects.toMatchObject({ code });
    await expect(cache.cache.has(reference)).rejects.toMatchObject({ code });
  });

  test('nothing is answered once the cache is closed', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    await cache.cache.close();
    await expect(cache.cache.resolve('up/team/app:1')).rejects.toMatchObject({ code: 'closed' });
    await expect(cache.cache.has('up/team/app:1')).rejects.toMatchObject({ code: 'closed' });
  });
});
