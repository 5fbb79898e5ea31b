import { join } from 'node:path';
import { fileStorage } from '@proxycache/core';
import { type AddedImage, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { flipByte } from '../faults/rot.ts';
import { smallDisk } from '../faults/small-disk.ts';
import { requireMount } from '../system.ts';
import { type CacheUnderTest, digestOfBody, startPair } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

/** The digests of what is stored. */
async function stored(directory: string): Promise<string[]> {
  const digests: string[] = [];
  const { signal } = new AbortController();
  for await (const { digest } of fileStorage(directory).blobs.digests({ signal })) digests.push(digest);
  return digests;
}

/** Pulls an image, until all of it is stored or was passed through. */
async function pull(cache: CacheUnderTest, tag: string): Promise<void> {
  expect((await pullImage(cache, { path: '/v2/up/app', tag })).status).toBe(200);
  const running = () => cache.seen('ingest-started').length - cache.seen('ingest-ended').length;
  await expect.poll(running, { timeout: 15_000 }).toBe(0);
  await cache.clock.advance(10);
}

const layersOf = ({ layers }: AddedImage) => layers.map(({ digest }) => digest);

test('34: a blob that is larger than maxBytes is passed on at once, whole and uncached, and nothing goes for it', async () => {
  const { upstream, cache } = await startPair({ cache: { retention: { every: false, maxBytes: 100 * KiB } } });
  upstream.addImage('app', { tag: 'small' });
  await pull(cache, 'small');
  const before = await stored(cache.directory);
  const digest = upstream.putBlob('app', seededBytes('large', 200 * KiB));
  for (let i = 0; i < 2; i++) {
    const got = await cache.get(`/v2/up/app/blobs/${digest}`);
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
  }
  expect(await stored(cache.directory)).toEqual(before);
  expect(cache.seen('passed-through').map(({ reason }) => reason)).toEqual(['max-bytes', 'max-bytes']);
  expect(cache.seen('quota-exceeded')).toMatchObject([{ upstream: 'up', of: 'cache', maxBytes: 100 * KiB }]);
});

test('34: what another repository says of the size of a blob neither keeps it from being stored, nor lets anything go', async () => {
  const { upstream, cache } = await startPair({ cache: { retention: { every: false, maxBytes: 300 * KiB } } });
  upstream.addImage('app', { tag: 'small', layerSizes: [80 * KiB] });
  await pull(cache, 'small');
  const before = await stored(cache.directory);
  for (const size of [250 * KiB, 1e14]) {
    const layer = upstream.addImage('app', { tag: `${size}`, layerSizes: [4 * KiB], seed: size }).layers[0]!;
    const layers = [{ ...layer, size }];
    upstream.putManifest('other', { schemaVersion: 2, config: layer, layers }, { tags: [`${size}`] });
    for (const repository of ['app', 'other']) await cache.get(`/v2/up/${repository}/manifests/${size}`);
    const got = await cache.get(`/v2/up/app/blobs/${layer.digest}`);
    expect([got.status, digestOfBody(got.body)]).toEqual([200, layer.digest]);
    await expect
      .poll(() => cache.seen('ingest-ended').at(-1))
      .toMatchObject({
        digest: layer.digest,
        outcome: 'stored',
      });
  }
  expect(await stored(cache.directory)).toEqual(expect.arrayContaining(before));
  expect([cache.seen('passed-through'), cache.seen('quota-exceeded'), cache.seen('sweep-ended')]).toEqual([[], [], []]);
});

test('34: what was used the longest ago goes before more comes in, of the upstream whose limit it is', async () => {
  const { upstream, cache } = await startPair({ maxBytes: 300 * KiB, cache: { retention: { every: false } } });
  const images = ['1', '2', '3', '4'].map((tag) => upstream.addImage('app', { tag, layerSizes: [80 * KiB] }));
  for (const tag of ['1', '2', '3', '1']) await pull(cache, tag);
  await pull(cache, '4');
  await expect.poll(() => cache.seen('sweep-ended').length).toBeGreaterThan(0);
  const held = await stored(cache.directory);
  expect(images.map((image) => layersOf(image).every((digest) => held.includes(digest)))).toEqual([
    true,
    false,
    true,
    true,
  ]);
  expect([cache.seen('passed-through'), cache.seen('quota-exceeded')]).toEqual([[], []]);
});

test('34: one flipped bit in the record of a tag kept its repository from making room, so that nothing new was stored', async () => {
  const { upstream, cache } = await startPair({ cache: { retention: { every: false, maxBytes: 400 * KiB } } });
  const layerSizes = [80 * KiB];
  const images = ['rotten', '2', '3', '4', '5', '6'].map((tag) => upstream.addImage('app', { tag, layerSizes }));
  for (const tag of ['rotten', '2', '3']) await pull(cache, tag);
  await cache.cache.close();
  flipByte(join(cache.directory, 'metadata/tag/up/-/app/rotten='));
  await cache.restart();
  for (const tag of ['4', '5', '6']) await pull(cache, tag);
  expect(cache.seen('passed-through')).toEqual([]);
  const held = await stored(cache.directory);
  expect(held).not.toContain(layersOf(images[0]!)[0]);
  expect(held).toContain(layersOf(images[5]!)[0]);
});

describe.skipIf(!requireMount())('a disk with less than minFree left', () => {
  test('34: gets room by what was used the longest ago, before anything is passed on uncached', async () => {
    const { directory } = smallDisk(32);
    const { upstream, cache } = await startPair({
      cache: { storage: fileStorage(directory), minFree: 4 * MiB, retention: { every: false } },
    });
    const images = ['1', '2', '3', '4'].map((tag) => upstream.addImage('app', { tag, layerSizes: [8 * MiB] }));
    for (const tag of ['1', '2', '3', '4']) await pull(cache, tag);
    expect(cache.seen('passed-through')).toEqual([]);
    const held = await stored(directory);
    expect(held).not.toContain(layersOf(images[0]!)[0]);
    expect(held).toContain(layersOf(images[3]!)[0]);
  });

  test('34: loses nothing to a blob that is larger than all of it, and goes on to make room for others', async () => {
    const { directory } = smallDisk(32);
    const { upstream, cache } = await startPair({
      cache: { storage: fileStorage(directory), minFree: 4 * MiB, retention: { every: false } },
    });
    const images = ['1', '2', '3', '4'].map((tag) => upstream.addImage('app', { tag, layerSizes: [8 * MiB] }));
    for (const tag of ['1', '2', '3']) await pull(cache, tag);
    const before = await stored(directory);
    const digest = upstream.putBlob('app', seededBytes('large', 40 * MiB));
    const got = await cache.get(`/v2/up/app/blobs/${digest}`);
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
    expect(cache.seen('passed-through').map(({ reason }) => reason)).toEqual(['min-free']);
    expect(await stored(directory)).toEqual(before);
    await pull(cache, '4');
    const held = await stored(directory);
    expect(held).not.toContain(layersOf(images[0]!)[0]);
    expect(held).toEqual(expect.arrayContaining(images.slice(2).flatMap(layersOf)));
  });

  test('34: lets nothing of the store go where the spool has a disk of its own, and it is that one', async () => {
    const spool = smallDisk(32);
    const { upstream, cache } = await startPair({
      cache: { minFree: 4 * MiB, retention: { every: false } },
      mount: { wrapStorage: (storage) => ({ ...storage, spoolDirectory: spool.directory }) },
    });
    for (const tag of ['1', '2']) {
      upstream.addImage('app', { tag, layerSizes: [8 * MiB] });
      await pull(cache, tag);
    }
    const before = await stored(cache.directory);
    // More than a look at the disk that still counts can have found: a smaller one might fit by that.
    const digest = upstream.putBlob('app', seededBytes('new', 30 * MiB));
    const got = await cache.get(`/v2/up/app/blobs/${digest}`);
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
    expect(cache.seen('passed-through').map(({ reason }) => reason)).toEqual(['min-free']);
    expect(await stored(cache.directory)).toEqual(before);
  });

  test('34: gets room where it is the store, and the spool has another', async () => {
    const disk = smallDisk(32);
    const { upstream, cache } = await startPair({
      cache: { minFree: 4 * MiB, retention: { every: false } },
      mount: { wrapStorage: ({ spoolDirectory }) => ({ ...fileStorage(disk.directory), spoolDirectory }) },
    });
    const images = ['1', '2', '3', '4', '5'].map((tag) => upstream.addImage('app', { tag, layerSizes: [8 * MiB] }));
    for (const tag of ['1', '2', '3', '4', '5']) {
      await pull(cache, tag);
      expect(disk.usedBytes()).toBeLessThanOrEqual(28 * MiB);
    }
    expect([cache.seen('passed-through'), cache.seen('upload-waiting')]).toEqual([[], []]);
    const held = await stored(disk.directory);
    expect(held).not.toContain(layersOf(images[0]!)[0]);
    expect(held).toContain(layersOf(images[4]!)[0]);
    const digest = upstream.putBlob('app', seededBytes('large', 40 * MiB));
    expect(digestOfBody((await cache.get(`/v2/up/app/blobs/${digest}`)).body)).toBe(digest);
    expect(cache.seen('passed-through').map(({ reason }) => reason)).toEqual(['min-free']);
    expect(await stored(disk.directory)).toEqual(held);
  });

  test('34: passes on what the disk of the store has no room for, where nothing may go', async () => {
    const disk = smallDisk(32);
    const { upstream, cache } = await startPair({
      cache: { minFree: 4 * MiB, retention: false },
      mount: { wrapStorage: ({ spoolDirectory }) => ({ ...fileStorage(disk.directory), spoolDirectory }) },
    });
    for (const tag of ['1', '2', '3', '4']) {
      upstream.addImage('app', { tag, layerSizes: [8 * MiB] });
      await pull(cache, tag);
    }
    expect(cache.seen('passed-through').map(({ reason }) => reason)).toEqual(['min-free']);
    expect(disk.usedBytes()).toBeLessThanOrEqual(28 * MiB);
  });
});

test('34, 48: a limit that an upstream is given at run time holds for what is stored already, until it is taken away', async () => {
  const { upstream, cache } = await startPair({ cache: { retention: { every: false } } });
  const images = ['1', '2', '3'].map((tag) => upstream.addImage('app', { tag, layerSizes: [80 * KiB] }));
  for (const tag of ['1', '2', '3']) await pull(cache, tag);
  const held = async () => {
    const digests = await stored(cache.directory);
    return images.map((image) => layersOf(image).every((digest) => digests.includes(digest)));
  };
  expect(await held()).toEqual([true, true, true]);
  await cache.cache.upstreams.update('up', { maxBytes: 200 * KiB });
  await expect.poll(held, { timeout: 60_000 }).toEqual([false, true, true]);
  await cache.cache.upstreams.update('up', { maxBytes: null });
  await pull(cache, '1');
  expect(await held()).toEqual([true, true, true]);
});
