import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileStorage } from '@proxycache/core';
import { describe, expect, onTestFinished, test } from 'vitest';
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
    return readdirSync(cache.directory, { recursive: true }).sort();
  };
  await expect.poll(spooled).toEqual(['proxycache.json', 'spool', expect.stringMatching(/^spool\/.*~/)]);
  fileStorage(cache.directory);
});

describe('a cache of which somebody took proxycache.json, and nothing else', () => {
  const markOf = (cache: CacheUnderTest) => join(cache.directory, 'proxycache.json');

  test('was refused at the next start after it was closed', async () => {
    const { upstream, cache } = await startPair({});
    upstream.addImage('app', { tag: '1', layerSizes: [80 * KiB] });
    await pull(cache, '1');
    rmSync(markOf(cache));
    await cache.restart();
    expect(readFileSync(markOf(cache), 'utf8')).toBe('{"format":1}\n');
    const transfers = cache.seen('ingest-started').length;
    await pull(cache, '1');
    expect(cache.seen('ingest-started')).toHaveLength(transfers);
  });

  test('was refused at the next start after a crash, though nobody pulled: it is there again within a minute', async () => {
    const { upstream, cache } = await startPair({});
    upstream.addImage('app', { tag: '1', layerSizes: [80 * KiB] });
    await pull(cache, '1');
    for (const _ of ['once', 'twice']) {
      rmSync(markOf(cache));
      await cache.clock.advance(60_000);
      await expect.poll(() => existsSync(markOf(cache))).toBe(true);
    }
    fileStorage(cache.directory);
  });
});

test('a mount whose folder its host removed kept pulls waiting, and a mkdir in it that never ended', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'proxycache-mount-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const [mount, folder] = [join(directory, 'mount'), join(directory, 'folder')];
  mkdirSync(folder);
  symlinkSync(folder, mount);
  const { upstream, cache } = await startPair({ cache: { storage: fileStorage(join(mount, 'cache')) } });
  for (const tag of ['1', '2', '3']) upstream.addImage('app', { tag, layerSizes: [80 * KiB] });
  await pull(cache, '1');
  // As such a mount it is there, and says ENOENT to each mkdir.
  unlinkSync(mount);
  symlinkSync('/proc', mount);
  await pull(cache, '2');
  const errors = cache.seen('store-failed').map(({ error }) => error);
  expect(errors.length).toBeGreaterThan(0);
  for (const error of errors) expect(error).toContain(`${mount} takes no folders (ENOENT)`);
  unlinkSync(mount);
  symlinkSync(folder, mount);
  const before = cache.events.length;
  await pull(cache, '3');
  const since = cache.events.slice(before).map(({ type }) => type);
  expect(since).not.toContain('store-failed');
  expect(since).not.toContain('passed-through');
});
