import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type ImportLayoutOptions, type ImportProgress, memoryStorage } from '@proxycache/core';
import { chunkGate, flakyStore } from '@proxycache/test-kit';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { type CacheUnderTest, startCache, startPair } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

const KiB = 1024;
const two = ['linux/amd64', 'linux/arm64'];
let directory: string;

beforeEach(() => {
  directory = makeTemporaryFolder('layout');
  onTestFinished(() => removeFolder(directory));
});

const at = (...path: string[]) => join(directory, ...path);
const fileOf = (digest: string) => at('blobs', 'sha256', digest.slice('sha256:'.length));
const index = () => JSON.parse(readFileSync(at('index.json'), 'utf8'));
const names = () =>
  index().manifests.map(
    (entry: { annotations?: Record<string, string> }) => entry.annotations?.['org.opencontainers.image.ref.name'],
  );

/** A cache whose upstream cannot be reached, nor is asked. */
function offline(): Promise<CacheUnderTest> {
  return startCache({ upstreams: [{ key: 'up', url: 'http://127.0.0.1:9', mode: 'offline' }] });
}

/** A layout of one image, and its parts. */
async function exported(options: { platforms?: readonly string[]; layerSizes?: readonly number[] } = {}) {
  const { upstream, cache } = await startPair();
  const image = upstream.addImage('team/app', { tag: '1', ...options });
  expect(await cache.cache.exportLayout(['up/team/app:1'], { directory })).toMatchObject({ failed: 0 });
  return { upstream, cache, image };
}

describe('an image goes from one cache to another by a folder', () => {
  test('and is served there while its upstream cannot be reached: tag, digests, blobs, and after a restart', async () => {
    const { image } = await exported({ platforms: two });
    const there = await offline();
    const { images, bytes } = await there.cache.importLayout({ directory });
    expect(images).toEqual([{ reference: 'up/team/app:1', digest: image.root.digest, outcome: 'imported', bytes }]);
    await there.restart();
    const pulled = await pullImage(there, { path: '/v2/up/team/app', tag: '1' });
    expect([pulled.status, pulled.digest]).toEqual([200, image.root.digest]);
    expect(await there.cache.has('up/team/app:1')).toBe(true);
    for (const { digest } of image.blobs) expect((await there.get(`/v2/up/team/app/blobs/${digest}`)).status).toBe(200);
    // A repository that nobody spoke of has nothing.
    expect((await there.get(`/v2/up/team/other/blobs/${image.config.digest}`)).status).toBe(504);
    expect(await there.cache.importLayout({ directory })).toMatchObject({ failed: 0 });
  });

  test('of Docker’s types, too', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', docker: true, platforms: two });
    await cache.cache.exportLayout(['up/team/app:1'], { directory });
    const there = await offline();
    expect(await there.cache.importLayout({ directory })).toMatchObject({ failed: 0 });
    const { first, status } = await pullImage(there, { path: '/v2/up/team/app', tag: '1' });
    expect([status, first.headers['content-type']]).toEqual([200, image.root.mediaType]);
  });

  test('by platform: an index of which the folder has some images is served as far as they go', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', platforms: two });
    await cache.cache.exportLayout(['up/team/app:1'], { directory, platforms: ['linux/arm64'] });
    expect(readdirSync(at('blobs', 'sha256'))).toHaveLength(5);
    const there = await offline();
    expect(await there.cache.importLayout({ directory })).toMatchObject({ failed: 0 });
    const path = (digest: string | undefined) => `/v2/up/team/app/manifests/${digest}`;
    expect((await there.get(path(image.manifests[1]?.digest))).status).toBe(200);
    expect((await there.get(path(image.manifests[0]?.digest))).status).toBe(504);
  });

  test('several, and more of them later: what is there and right is not written again, what is wrong is', async () => {
    const { upstream, cache } = await startPair();
    const first = upstream.addImage('team/app', { tag: '1' });
    upstream.addImage('team/app', { tag: '2' });
    await cache.cache.exportLayout(['up/team/app:1'], { directory });
    const config = fileOf(first.config.digest);
    writeFileSync(config, 'x'.repeat(first.config.size));
    const { references } = await cache.cache.exportLayout(['up/team/app:2', 'up/team/app:1', 'up/team/app:3'], {
      directory,
    });
    expect(references.map(({ outcome }) => outcome)).toEqual(['stored', 'here', 'failed']);
    expect(names()).toEqual(['up/team/app:2', 'up/team/app:1']);
    const there = await offline();
    expect(await there.cache.importLayout({ directory })).toMatchObject({ failed: 0 });
    expect(readdirSync(directory).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  test('that counts as validated now, and is asked about as any other where the upstream can be', async () => {
    const { upstream, cache, image } = await exported();
    const upstreams = [{ key: 'up', url: upstream.url, freshFor: '1h' }] as const;
    const there = await startCache({ upstreams });
    await there.cache.importLayout({ directory });
    upstream.clear();
    expect((await pullImage(there, { path: '/v2/up/team/app', tag: '1' })).digest).toBe(image.root.digest);
    expect(upstream.requests).toEqual([]);
    await there.clock.advance(3_600_001);
    await pullImage(there, { path: '/v2/up/team/app', tag: '1' });
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD']);
    void cache;
  });
});

describe('a folder that is not what it says is refused, and nothing of the image is served', () => {
  async function refused(reason: string, options: Partial<ImportLayoutOptions> = {}) {
    const there = await offline();
    const { images } = await there.cache.importLayout({ directory, ...options });
    expect(images).toMatchObject([{ outcome: 'failed' }]);
    expect(images[0]?.error?.message).toContain(reason);
    expect(await there.cache.has('up/team/app:1')).toBe(false);
    expect((await there.get('/v2/up/team/app/manifests/1')).status).toBe(504);
    return { there, error: images[0]?.error };
  }

  test('a blob of other bytes, of another size, or none', async () => {
    const { image } = await exported({ layerSizes: [3000] });
    const layer = image.layers[0]!;
    const [file, bytes] = [fileOf(layer.digest), readFileSync(fileOf(layer.digest))];
    writeFileSync(file, Buffer.alloc(layer.size));
    const { there, error } = await refused(`${layer.digest} has other bytes than its digest says`);
    expect(error?.code).toBe('layout-invalid');
    expect((await there.get(`/v2/up/team/app/blobs/${image.config.digest}`)).status).toBe(504);
    truncateSync(file, 2000);
    await refused(`${layer.digest} has 2000 bytes, and not 3000`);
    rmSync(file);
    await refused(`${layer.digest} is missing`);
    // Mended, it is taken.
    writeFileSync(file, bytes);
    expect(await there.cache.importLayout({ directory })).toMatchObject({ failed: 0 });
  });

  test('a link to elsewhere, as a file or as a folder, and what is no file', async () => {
    const { image } = await exported();
    const [file, elsewhere] = [fileOf(image.config.digest), makeTemporaryFolder('elsewhere')];
    onTestFinished(() => removeFolder(elsewhere));
    renameSync(file, join(elsewhere, 'config'));
    symlinkSync(join(elsewhere, 'config'), file);
    await refused('is a link');
    rmSync(file);
    mkdirSync(file);
    await refused('is no file');
    rmSync(file, { recursive: true });
    renameSync(join(elsewhere, 'config'), file);
    renameSync(at('blobs'), join(elsewhere, 'blobs'));
    symlinkSync(join(elsewhere, 'blobs'), at('blobs'));
    await refused('or in a folder that is one');
  });

  test('an index without any of its images, a manifest of other bytes, or of another type than it is', async () => {
    const { image } = await exported({ platforms: two });
    const root = fileOf(image.root.digest);
    const children = image.manifests.map(({ digest }) => fileOf(digest));
    const [first, second] = children.map((file) => readFileSync(file));
    for (const file of children) rmSync(file);
    await refused(`it has none of the images that ${image.root.digest} names`);
    writeFileSync(children[0]!, first!);
    writeFileSync(children[1]!, Buffer.alloc(second!.byteLength));
    await refused('has other bytes than its digest says');
    writeFileSync(children[1]!, second!);
    const listed = index();
    listed.manifests[0].mediaType = 'application/vnd.oci.image.manifest.v1+json';
    writeFileSync(at('index.json'), JSON.stringify(listed));
    await refused('is not what its descriptor says');
    rmSync(root);
    await refused(`${image.root.digest} is missing`);
  });

  test('an image that nobody says what it is, or that belongs nowhere here', async () => {
    await exported();
    const listed = index();
    listed.manifests[0].annotations = { 'org.opencontainers.image.ref.name': 'v1' };
    writeFileSync(at('index.json'), JSON.stringify(listed));
    await refused('v1 names no upstream');
    await refused('nowhere/app names no upstream', { as: { v1: 'nowhere/app:1' } });
    delete listed.manifests[0].annotations;
    writeFileSync(at('index.json'), JSON.stringify(listed));
    await refused('say what it is');
    await refused(', and not sha256:', { as: `up/team/app@sha256:${'0'.repeat(64)}` });
    const there = await offline();
    expect(await there.cache.importLayout({ directory, as: 'up/team/app:1' })).toMatchObject({ failed: 0 });
    expect(await there.cache.has('up/team/app:1')).toBe(true);
  });

  test('no layout, another version of it, and lists that are too long or none', async () => {
    const there = await offline();
    const failing = (message: string) => expect(there.cache.importLayout({ directory })).rejects.toThrow(message);
    await failing('there is no oci-layout');
    writeFileSync(at('oci-layout'), JSON.stringify({ imageLayoutVersion: '2.0.0' }));
    await failing('its version is not 1.0.0');
    const { cache } = await startPair();
    await expect(cache.cache.exportLayout(['up/a:1'], { directory })).rejects.toThrow('its version is not 1.0.0');
    writeFileSync(at('oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    await failing('there is no index.json');
    writeFileSync(at('index.json'), '[]');
    await failing('index.json is not a JSON object');
    writeFileSync(at('index.json'), '{"manifests":[{"digest":"sha256:../../etc/passwd","size":1,"mediaType":""}]}');
    await failing('manifests[0] is no descriptor');
    writeFileSync(at('index.json'), ' '.repeat(5 * 1024 * KiB));
    await failing('index.json has 5242880 bytes');
  });
});

test('a store that takes nothing: what is not stored is not said to be imported', async () => {
  const { upstream } = await exported();
  const storage = flakyStore(memoryStorage());
  storage.on('blobs.adopt', { fail: 'full' });
  const upstreams = [{ key: 'up', url: upstream.url }];
  const there = await startCache({ upstreams, storage, maxWaitingBytes: 0 });
  const { images } = await there.cache.importLayout({ directory });
  expect(images).toMatchObject([{ outcome: 'failed', error: { code: 'storage-failed' } }]);
  const small = await startCache({ upstreams, retention: { every: false, maxBytes: KiB } });
  const refused = await small.cache.importLayout({ directory });
  expect(refused.images).toMatchObject([{ outcome: 'failed', error: { code: 'quota-exceeded' } }]);
});

test('an export into a folder that takes none never ended', async () => {
  const { upstream, cache } = await startPair();
  upstream.addImage('team/app', { tag: '1' });
  const exporting = cache.cache.exportLayout(['up/team/app:1'], { directory: '/proc/layout' });
  await expect(exporting).rejects.toThrow('/proc takes no folders (ENOENT)');
});

test('both tell how far they have come, and end when their signal fires', async () => {
  const { upstream, cache } = await startPair();
  const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3000 * KiB] });
  const chunks = chunkGate(100 * KiB);
  const heal = upstream.on({ method: 'GET', digest: image.layers[0]!.digest }, { throttle: chunks });
  const stop = new AbortController();
  const exporting = cache.cache.exportLayout(['up/team/app:1'], { directory, signal: stop.signal });
  exporting.catch(() => undefined);
  await expect.poll(() => upstream.count({ path: /blobs/ })).toBe(2);
  stop.abort(new Error('enough'));
  await expect(exporting).rejects.toThrow('enough');
  expect(readdirSync(directory)).toEqual([]);
  heal();
  chunks.open();
  await cache.cache.exportLayout(['up/team/app:1'], { directory });
  const there = await offline();
  const again = new AbortController();
  const importing = there.cache.importLayout({
    directory,
    signal: again.signal,
    onProgress: () => again.abort(new Error('enough')),
  });
  await expect(importing).rejects.toThrow('enough');
  expect(await there.cache.has('up/team/app:1')).toBe(false);
  const seen: ImportProgress[] = [];
  const { bytes } = await there.cache.importLayout({ directory, onProgress: (soFar) => seen.push(soFar) });
  expect(seen.at(-1)).toMatchObject({ images: { total: 1, done: 1, failed: 0 }, contents: 3, bytes });
});

test.each([
  [{ directory: 1 }, 'importLayout: directory: expected a text'],
  [{ directory: '/nowhere' }, 'there is no oci-layout in /nowhere'],
  [{ directory: '/nowhere', as: 1 }, 'importLayout: as: expected a reference, or references by names'],
])('options that are wrong are named', async (options, message) => {
  const { cache } = await startPair();
  await expect(cache.cache.importLayout(options as never)).rejects.toThrow(message);
});
