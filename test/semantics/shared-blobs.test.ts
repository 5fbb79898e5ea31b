import { fileStorage, type ProxyCacheOptions, type Storage } from '@proxycache/core';
import { type FlakyStorage, flakyStore, openFiles, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startCache, startPair } from './cache-under-test.ts';

const MiB = 1024 * 1024;
const pathOf = (digest: string, repository = 'team/app') => `/v2/up/${repository}/blobs/${digest}`;

/** A cache that has a blob of 1 MiB, which nobody has open. */
async function startStored(options: Partial<ProxyCacheOptions> = {}) {
  let storage: FlakyStorage | undefined;
  const wrapStorage = (given: Storage) => {
    storage ??= flakyStore(given);
    return storage;
  };
  const pair = await startPair({ cache: options, mount: { wrapStorage } });
  const bytes = Buffer.from(seededBytes('stored', MiB));
  const digest = pair.upstream.putBlob('team/app', bytes);
  await pullInto(pair.cache, digest);
  pair.upstream.clear();
  const flaky = storage!;
  const asked = flaky.calls('blobs.open');
  const opened = () => flaky.calls('blobs.open') - asked;
  return { ...pair, storage: flaky, bytes, digest, opened };
}

async function pullInto(cache: CacheUnderTest, digest: string): Promise<void> {
  await cache.get(pathOf(digest));
  await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored' }]);
}

describe('a stored blob that is asked for again within a second', () => {
  test('is opened once, for GET, HEAD and ranges, one after the other and all at a time', async () => {
    const { upstream, cache, storage, bytes, digest, opened } = await startStored();
    const path = pathOf(digest);
    expect((await cache.get(path)).headers['cache-status']).toBe('proxycache; hit');
    expect((await cache.head(path)).headers['content-length']).toBe(String(MiB));
    const range = await cache.get(path, { headers: { range: 'bytes=5-1004' } });
    expect([range.status, range.body.equals(bytes.subarray(5, 1005))]).toEqual([206, true]);
    const all = await Promise.all(Array.from({ length: 20 }, () => cache.get(path)));
    expect(new Set(all.map(({ body }) => digestOfBody(body)))).toEqual(new Set([digest]));
    const cached = await cache.get(path, { headers: { 'if-none-match': `"${digest}"` } });
    expect([cached.status, opened(), storage.openBlobs()]).toEqual([304, 1, 1]);
    await cache.clock.advance(1_000);
    expect(storage.openBlobs()).toBe(0);
    expect(digestOfBody((await cache.get(path)).body)).toBe(digest);
    expect([opened(), upstream.count()]).toEqual([2, 0]);
  });

  test('is not given to a repository that did not prove to hold it', async () => {
    const { upstream, cache, digest } = await startStored();
    await cache.get(pathOf(digest));
    expect((await cache.get(pathOf(digest, 'other/app'))).status).toBe(404);
    expect((await cache.head(pathOf(digest, 'other/app'))).status).toBe(404);
    expect(upstream.count({ path: /\/other\/app\// })).toBeGreaterThan(0);
  });

  test('is let go of by clients that leave half-way', async () => {
    const { cache, storage, digest } = await startStored();
    storage.on('blobs.read', { hang: true });
    const controllers = Array.from({ length: 10 }, () => new AbortController());
    const leaving = controllers.map(({ signal }) => cache.get(pathOf(digest), { signal }));
    await expect.poll(() => storage.calls('blobs.read')).toBe(10);
    for (const controller of controllers) controller.abort();
    await Promise.allSettled(leaving);
    storage.heal();
    await expect.poll(() => cache.clock.advance(1_000).then(() => storage.openBlobs())).toBe(0);
    expect(digestOfBody((await cache.get(pathOf(digest))).body)).toBe(digest);
  });

  test('is asked of the store anew once a read of it failed', async () => {
    const { upstream, cache, storage, digest, opened } = await startStored();
    await cache.get(pathOf(digest));
    storage.on('blobs.read', { fail: 'EIO', times: 1 });
    expect(digestOfBody((await cache.get(pathOf(digest))).body)).toBe(digest);
    expect([upstream.count({ method: 'GET' }), opened()]).toEqual([1, 1]);
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(2);
    expect(digestOfBody((await cache.get(pathOf(digest))).body)).toBe(digest);
    expect(opened()).toBe(2);
  });

  test('is hashed before its first read after start, and opened anew for that', async () => {
    const { cache, storage, digest } = await startStored({ verifyOnRead: 'first' });
    await cache.restart();
    const [asked, read] = [storage.calls('blobs.open'), storage.bytesRead()];
    // Opened for its size only.
    await cache.head(pathOf(digest));
    expect(storage.bytesRead() - read).toBe(0);
    for (let i = 0; i < 3; i++) expect(digestOfBody((await cache.get(pathOf(digest))).body)).toBe(digest);
    expect([storage.calls('blobs.open') - asked, storage.bytesRead() - read]).toEqual([2, 4 * MiB]);
  });
});

describe('a cache that was closed', () => {
  test('holds no blob open, and another one of its storage goes on', async () => {
    const { upstream, cache, storage, digest } = await startStored();
    const other = await startCache({ storage, upstreams: [{ key: 'up', url: upstream.url }] });
    for (const each of [cache, other]) expect(digestOfBody((await each.get(pathOf(digest))).body)).toBe(digest);
    expect(storage.openBlobs()).toBe(2);
    await cache.cache.close();
    expect(storage.openBlobs()).toBe(1);
    expect(digestOfBody((await other.get(pathOf(digest))).body)).toBe(digest);
    await other.cache.close();
    expect([storage.openBlobs(), openFiles(cache.directory)]).toEqual([0, []]);
    // Timers of a host's loop are not kept, nor does any of these wait.
    expect(other.clock.pending()).toBe(0);
  });
});

test('what another process deletes is missed a second later at most', async () => {
  const { upstream, cache, digest } = await startStored();
  await cache.get(pathOf(digest));
  const process = fileStorage(cache.directory);
  const { signal } = new AbortController();
  expect(await process.blobs.delete(digest, { signal })).toBe(true);
  expect(digestOfBody((await cache.get(pathOf(digest))).body)).toBe(digest);
  expect(upstream.count()).toBe(0);
  await cache.clock.advance(1_000);
  expect(digestOfBody((await cache.get(pathOf(digest))).body)).toBe(digest);
  expect(upstream.count({ method: 'GET' })).toBe(1);
});
