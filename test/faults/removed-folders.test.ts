import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileStorage } from '@proxycache/core';
import { expect, test } from 'vitest';
import { type CacheUnderTest, startPair } from '../semantics/cache-under-test.ts';
import { pullImage } from '../semantics/pull-image.ts';

const KiB = 1024;

/** Pulls an image, until all of it is stored or was passed through. */
async function pull(cache: CacheUnderTest, tag: string): Promise<void> {
  expect((await pullImage(cache, { path: '/v2/up/app', tag })).status).toBe(200);
  const running = () => cache.seen('ingest-started').length - cache.seen('ingest-ended').length;
  await expect.poll(running, { timeout: 15_000 }).toBe(0);
  await cache.clock.advance(10);
}

const blobsIn = ({ directory }: CacheUnderTest) => readdirSync(join(directory, 'blobs/sha256'));

test('a cache from which somebody took blobs/sha512, which was empty, made room no more and stored nothing new', async () => {
  const { upstream, cache } = await startPair({ cache: { retention: { every: false, maxBytes: 300 * KiB } } });
  for (const tag of ['1', '2', '3', '4', '5']) upstream.addImage('app', { tag, layerSizes: [80 * KiB] });
  await pull(cache, '1');
  rmdirSync(join(cache.directory, 'blobs/sha512'));
  for (const tag of ['2', '3', '4', '5']) await pull(cache, tag);
  expect(cache.seen('sweep-ended').map(({ outcome }) => outcome)).not.toContain('failed');
  expect(cache.seen('sweep-ended').length).toBeGreaterThan(0);
  expect(cache.seen('passed-through')).toEqual([]);
});

test('a cache from which somebody took tmp, which was empty, stored no record and no manifest, and purged nothing', async () => {
  const { upstream, cache } = await startPair({});
  for (const tag of ['1', '2']) upstream.addImage('app', { tag, layerSizes: [80 * KiB] });
  await pull(cache, '1');
  rmdirSync(join(cache.directory, 'tmp'));
  await pull(cache, '2');
  expect(cache.seen('store-failed')).toEqual([]);
  // Two manifests, two configs, two layers.
  expect(blobsIn(cache)).toHaveLength(6);
  rmdirSync(join(cache.directory, 'tmp'));
  await cache.cache.purge({ upstream: 'up', repository: 'app' });
  expect(blobsIn(cache)).toEqual([]);
});

test('a cache whose folder somebody emptied stored nothing until it was started again, which was refused', async () => {
  const { upstream, cache } = await startPair({});
  const [, image] = ['1', '2'].map((tag) => upstream.addImage('app', { tag, layerSizes: [80 * KiB] }));
  await pull(cache, '1');
  for (const name of readdirSync(cache.directory)) rmSync(join(cache.directory, name), { recursive: true });
  await pull(cache, '2');
  expect([cache.seen('passed-through'), cache.seen('store-failed')]).toEqual([[], []]);
  await cache.restart();
  const digests = [image!.root, ...image!.blobs].map(({ digest }) => digest.split(':')[1]);
  expect(blobsIn(cache)).toEqual(expect.arrayContaining(digests));
  const transfers = cache.seen('ingest-started').length;
  await pull(cache, '2');
  expect(cache.seen('ingest-started')).toHaveLength(transfers);
});

test('a cache whose folder somebody emptied, and of which nobody pulled since, could not be started again after a crash', async () => {
  const { cache } = await startPair({});
  for (const name of readdirSync(cache.directory)) rmSync(join(cache.directory, name), { recursive: true });
  // Each minute it looks for what dead processes left there.
  const spooled = async () => {
    await cache.clock.advance(60_000);
    return readdirSync(cache.directory, { recursive: true });
  };
  await expect.poll(spooled).toEqual(['spool', expect.stringMatching(/^spool\/.*~/)]);
  fileStorage(cache.directory);
  expect(readdirSync(cache.directory)).toContain('proxycache.json');
});
