import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ImportProgress, memoryStorage } from '@proxycache/core';
import { chunkGate, credentialFiles, flakyStore, gate } from '@proxycache/test-kit';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { startCache, startPair, startUpstream } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

const KiB = 1024;
const day = 24 * 3_600_000;
let directory: string;

beforeEach(() => {
  directory = makeTemporaryFolder('layout');
  onTestFinished(() => removeFolder(directory));
});

const at = (...path: string[]) => join(directory, ...path);
const fileOf = (digest: string) => at('blobs', 'sha256', digest.slice('sha256:'.length));

describe('while a layout is imported', () => {
  test('a blob that it has wrong does not come between clients and the upstream that has it right', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [20_000 * KiB] });
    const { digest, size } = image.layers[0]!;
    await cache.cache.exportLayout(['up/team/app:1'], { directory });
    writeFileSync(fileOf(digest), Buffer.alloc(size));
    const there = await startCache({ upstreams: [{ key: 'up', url: upstream.url }] });
    expect(await there.cache.importLayout({ directory })).toMatchObject({ failed: 1 });
    // Nobody could have read along with what is wrong.
    expect(there.seen('ingest-ended').filter((event) => event.digest === digest)).toEqual([]);
    expect((await there.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    let isOver = false;
    const importing = (async () => {
      for (let round = 0; round < 4; round++) {
        const { images } = await there.cache.importLayout({ directory });
        expect(['failed', 'imported']).toContain(images[0]?.outcome);
      }
      isOver = true;
    })();
    while (!isOver) {
      const got = await there.get(`/v2/up/team/app/blobs/${digest}`);
      expect([got.status, got.failure, got.body.byteLength]).toEqual([200, undefined, size]);
      await there.cache.purge({ reference: `up/team/app@${digest}` });
    }
    await importing;
    expect(there.seen('ingest-ended').filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  });

  test('a transfer that fails upstream does not fail the image, whose bytes are in the layout', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3000 * KiB] });
    const { digest } = image.layers[0]!;
    await cache.cache.exportLayout(['up/team/app:1'], { directory });
    const there = await startCache({ upstreams: [{ key: 'up', url: upstream.url }] });
    const held = gate();
    upstream.on({ method: 'GET', digest }, { gate: held, status: 500 });
    const client = there.get(`/v2/up/team/app/blobs/${digest}`);
    await held.reached;
    let taken = 0;
    const onProgress = ({ contents }: { contents: number }) => {
      taken = contents;
    };
    const importing = there.cache.importLayout({ directory, onProgress });
    // All but the one that is waited for.
    await expect.poll(() => taken).toBe(image.blobs.length - 1);
    held.open();
    await client;
    expect(await importing).toMatchObject({ failed: 0 });
  });

  test('it leaves the places of transfers to clients, and goes on when one is free', async () => {
    const { upstream, cache } = await startPair();
    const theirs = upstream.addImage('team/theirs', { tag: '1', layerSizes: [3000 * KiB] });
    upstream.addImage('team/app', { tag: '1' });
    await cache.cache.exportLayout(['up/team/app:1'], { directory });
    const there = await startCache({ upstreams: [{ key: 'up', url: upstream.url }], maxIngests: 1 });
    const chunks = chunkGate(100 * KiB);
    const { digest } = theirs.layers[0]!;
    upstream.on({ method: 'GET', digest }, { throttle: chunks });
    const client = there.get(`/v2/up/team/theirs/blobs/${digest}`);
    await expect.poll(() => upstream.count({ digest })).toBe(1);
    chunks.allow(2);
    let done = false;
    const importing = there.cache.importLayout({ directory }).finally(() => {
      done = true;
    });
    await there.clock.advance(1_000);
    chunks.open();
    expect((await client).status).toBe(200);
    await expect
      .poll(async () => {
        await there.clock.advance(1_000);
        return done;
      })
      .toBe(true);
    expect(await importing).toMatchObject({ failed: 0 });
  });
});

describe('while the user changes that its upstream is asked as', () => {
  test.each([
    ['an image that comes in then', 0],
    ['one that came in before, and another one', 1],
  ])('%s is imported, and served', async (_, before) => {
    const { upstream: outside, cache } = await startPair();
    const tags = ['1', '2'];
    for (const tag of tags) outside.addImage('team/app', { tag });
    const references = tags.map((tag) => `up/team/app:${tag}`);
    await cache.cache.exportLayout(references, { directory });
    const { auth, write, remove } = credentialFiles();
    onTestFinished(remove);
    write('ann', 'a');
    const users = { ann: { password: 'a' }, bob: { password: 'b' } };
    const upstream = await startUpstream({ auth: { basic: { users } } });
    const storage = flakyStore(memoryStorage());
    const there = await startCache({ upstreams: [{ key: 'up', url: upstream.url, auth }], storage });
    const held = gate();
    if (before === 0) storage.on('blobs.adopt', { gate: held });
    const onProgress = ({ images }: ImportProgress) => {
      if (images.done === before && before > 0) storage.on('blobs.adopt', { gate: held });
    };
    const importing = there.cache.importLayout({ directory, onProgress });
    await held.reached;
    await there.clock.advance(1_000);
    write('bob', 'b');
    // Whatever has to be asked is asked as the new one.
    expect((await there.get('/v2/up/team/other/manifests/1')).status).toBe(404);
    expect(upstream.requests.at(-1)?.headers.authorization).toBe(`Basic ${btoa('bob:b')}`);
    held.open();
    expect(await importing).toMatchObject({ failed: 0 });
    await upstream.stop();
    for (const reference of references)
      expect([reference, await there.cache.has(reference)]).toEqual([reference, true]);
    for (const tag of tags) expect((await pullImage(there, { path: '/v2/up/team/app', tag })).status).toBe(200);
  });
});

describe('with less room than the layout needs', () => {
  const retention = { every: false, maxBytes: 300 * KiB } as const;

  test('an image whose last blobs push out its first ones is not said to be imported, and nothing of it is served', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [120 * KiB, 120 * KiB, 120 * KiB] });
    await cache.cache.exportLayout(['up/team/app:1'], { directory });
    const there = await startCache({ upstreams: [{ key: 'up', url: upstream.url, mode: 'offline' }], retention });
    const { images, failed } = await there.cache.importLayout({ directory });
    expect(images).toMatchObject([{ outcome: 'failed', error: { code: 'quota-exceeded' } }]);
    expect(failed).toBe(1);
    for (const path of ['manifests/1', ...image.blobs.map(({ digest }) => `blobs/${digest}`)])
      expect([path, (await there.get(`/v2/up/team/app/${path}`)).status]).toEqual([path, 504]);
  });

  test('an image that the images after it push out is not said to be imported', async () => {
    const { upstream, cache } = await startPair();
    const references = ['1', '2', '3'].map((tag) => `up/team/app:${tag}`);
    for (const tag of ['1', '2', '3']) upstream.addImage('team/app', { tag, layerSizes: [120 * KiB] });
    await cache.cache.exportLayout(references, { directory });
    const there = await startCache({ upstreams: [{ key: 'up', url: upstream.url, mode: 'offline' }], retention });
    let told: ImportProgress | undefined;
    const { images, failed } = await there.cache.importLayout({
      directory,
      onProgress(soFar) {
        told = soFar;
        void there.clock.advance(1_000);
      },
    });
    const stored = await Promise.all(references.map((reference) => there.cache.has(reference)));
    expect(images.map(({ outcome }) => outcome === 'imported')).toEqual(stored);
    // It is what was used the longest ago that went.
    expect(stored).toEqual([false, true, true]);
    expect(images[0]).toMatchObject({ outcome: 'failed', error: { code: 'quota-exceeded' } });
    expect([told?.images.failed, failed]).toEqual([failed, stored.filter((is) => !is).length]);
  });
});

describe('what is imported again counts as used then', () => {
  test('a sweep leaves it for as long as what was pulled then', async () => {
    const { upstream, cache } = await startPair({ cache: { retention: { every: false } } });
    upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    await cache.cache.exportLayout(['up/team/app:1'], { directory });
    await cache.clock.advance(6 * day);
    expect(await cache.cache.importLayout({ directory })).toMatchObject({ failed: 0 });
    await cache.clock.advance(6 * day);
    expect(await cache.cache.sweep()).toMatchObject({ tags: 0, manifests: 0, blobs: 0, files: 0 });
    await cache.clock.advance(day + 1);
    expect(await cache.cache.sweep()).toMatchObject({ tags: 1, manifests: 3, blobs: 6, files: 9 });
  });

  test('a layer that is here does not make way for those that come in with it', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1', layerSizes: [120 * KiB], seed: 'app' });
    upstream.addImage('team/app', { tag: '2', layerSizes: [120 * KiB, 100 * KiB], seed: 'app' });
    upstream.addImage('team/other', { tag: '1', layerSizes: [120 * KiB] });
    await cache.cache.exportLayout(['up/team/app:2'], { directory });
    const retention = { every: false, maxBytes: 300 * KiB } as const;
    const there = await startCache({ upstreams: [{ key: 'up', url: upstream.url }], retention });
    for (const reference of ['up/team/app:1', 'up/team/other:1']) {
      expect(await there.cache.warm([reference])).toMatchObject({ failed: 0 });
      await there.clock.advance(day);
    }
    expect(await there.cache.importLayout({ directory })).toMatchObject({ failed: 0 });
    expect([await there.cache.has('up/team/app:2'), await there.cache.has('up/team/other:1')]).toEqual([true, false]);
  });
});

describe('a directory that is exported into', () => {
  const listed = () =>
    JSON.parse(readFileSync(at('index.json'), 'utf8'))
      .manifests.map((entry: { annotations: Record<string, string> }) => Object.values(entry.annotations)[0])
      .sort();

  test('by several exports at a time lists the images of all of them', async () => {
    const { upstream, cache } = await startPair();
    const tags = ['1', '2', '3', '4', '5', '6'];
    for (const tag of tags) upstream.addImage('team/app', { tag });
    const references = tags.map((tag) => `up/team/app:${tag}`);
    await cache.cache.warm(references);
    await Promise.all(references.map((reference) => cache.cache.exportLayout([reference], { directory })));
    expect(listed()).toEqual(references);
    expect(readdirSync(directory).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  test.each([
    ['its signal', 'enough'],
    ['the end of the cache', 'the cache is closed'],
  ])('lists what is whole when %s ends the export', async (by, reason) => {
    const { upstream, cache } = await startPair();
    const images = ['1', '2', '3'].map((tag) => upstream.addImage('team/app', { tag }));
    upstream.on({ digest: images[2]!.layers[0]!.digest }, { hang: true });
    const references = ['1', '2', '3'].map((tag) => `up/team/app:${tag}`);
    const stop = new AbortController();
    let done = 0;
    const exporting = cache.cache.exportLayout(references, {
      directory,
      signal: stop.signal,
      onProgress: (soFar) => {
        done = soFar.references.done;
      },
    });
    const ended = expect(exporting).rejects.toThrow(reason);
    await expect.poll(() => done).toBe(2);
    if (by === 'its signal') {
      stop.abort(new Error(reason));
      await ended;
    } else {
      const closing = cache.cache.close({ graceMs: 0 });
      await cache.clock.advance(0);
      await closing;
    }
    expect(listed()).toEqual(references.slice(0, 2));
    await ended;
    const there = await startCache({ upstreams: [{ key: 'up', url: upstream.url, mode: 'offline' }] });
    expect((await there.cache.importLayout({ directory })).images).toMatchObject([
      { reference: 'up/team/app:1', outcome: 'imported' },
      { reference: 'up/team/app:2', outcome: 'imported' },
    ]);
  });

  test('keeps the index.json of something else, and that of an export that was cut off', async () => {
    const { upstream, cache } = await startPair();
    for (const tag of ['1', '2']) upstream.addImage('team/app', { tag });
    writeFileSync(at('index.json'), '{"name":"a web page"}');
    await expect(cache.cache.exportLayout(['up/team/app:1'], { directory })).rejects.toThrow('no list of manifests');
    expect(readFileSync(at('index.json'), 'utf8')).toBe('{"name":"a web page"}');
    expect(upstream.requests).toEqual([]);
    writeFileSync(at('index.json'), '{"schemaVersion":2,"manifests":[]}');
    await cache.cache.exportLayout(['up/team/app:1'], { directory });
    await cache.cache.exportLayout(['up/team/app:2'], { directory });
    expect(listed()).toEqual(['up/team/app:1', 'up/team/app:2']);
  });

  test('is not left by a link among its folders', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    mkdirSync(at('elsewhere'));
    mkdirSync(at('layout', 'blobs'), { recursive: true });
    symlinkSync(at('elsewhere'), at('layout', 'blobs', 'sha256'));
    const { references } = await cache.cache.exportLayout(['up/team/app:1'], { directory: at('layout') });
    expect(references[0]?.error).toMatchObject({ code: 'layout-invalid' });
    expect(readdirSync(at('elsewhere'))).toEqual([]);
  });

  test('gets no list that could not be read any more', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    await cache.cache.exportLayout(['up/team/app:1'], { directory });
    const [entry] = JSON.parse(readFileSync(at('index.json'), 'utf8')).manifests;
    const { annotations: _named, ...unnamed } = entry;
    const full = JSON.stringify({ schemaVersion: 2, manifests: Array.from({ length: 10_000 }, () => unnamed) });
    writeFileSync(at('index.json'), full);
    const more = cache.cache.exportLayout(['up/team/app:1'], { directory });
    await expect(more).rejects.toThrow('would list more than 10000 manifests');
    expect(readFileSync(at('index.json'), 'utf8')).toBe(full);
  });
});
