import { join } from 'node:path';
import {
  type Bytes,
  digestOf,
  fileStorage,
  localCoordinator,
  memoryStorage,
  type Removal,
  type RetentionOptions,
  type SweepReport,
} from '@proxycache/core';
import { type AddedImage, gate, manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { flipByte } from '../faults/rot.ts';
import { type CacheUnderTest, startCache, startPair, startUpstream } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

const hour = 3_600_000;
const day = 24 * hour;

// The built-in schedule is a test of its own: here each sweep is asked for.
const byHand = { retention: { every: false } } as const;

async function pull(cache: CacheUnderTest, repository: string, tag: string): Promise<void> {
  const { status } = await pullImage(cache, { path: `/v2/up/${repository}`, tag });
  expect(status).toBe(200);
}

async function pullByDigest(cache: CacheUnderTest, repository: string, image: AddedImage): Promise<void> {
  expect((await cache.get(`/v2/up/${repository}/manifests/${image.root.digest}`)).status).toBe(200);
}

/** The digests of all stored files. */
async function stored(cache: CacheUnderTest): Promise<string[]> {
  const digests: string[] = [];
  const { signal } = new AbortController();
  for await (const { digest } of fileStorage(cache.directory).blobs.digests({ signal })) digests.push(digest);
  return digests.sort();
}

const digestsOf = ({ root, manifests, blobs }: AddedImage) =>
  [...new Set([root, ...manifests, ...blobs].map(({ digest }) => digest))].sort();

const sorted = (removals: readonly Removal[]) => removals.map((one) => JSON.stringify(one)).sort();

/** A dry run, and the sweep itself, which must come to the same. */
async function sweep(cache: CacheUnderTest): Promise<SweepReport> {
  const before = await stored(cache);
  const dry = await cache.cache.sweep({ dryRun: true });
  expect(await stored(cache)).toEqual(before);
  const report = await cache.cache.sweep();
  const ofFile = ({ kind }: Removal) => kind === 'file';
  expect(sorted(dry.removals)).toEqual(sorted(report.removals));
  const { dryRun, durationMs, removals, ...counts } = report;
  expect(dry).toMatchObject(counts);
  const gone = new Set(removals.filter(ofFile).map(({ tagOrDigest }) => tagOrDigest));
  expect(await stored(cache)).toEqual(before.filter((digest) => !gone.has(digest)));
  return report;
}

describe('what was not used for 7 days goes, and nothing else', () => {
  it('a tag goes with all of its image, and comes back with the next pull', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const old = upstream.addImage('app', { tag: 'old', platforms: ['linux/amd64', 'linux/arm64'] });
    const used = upstream.addImage('app', { tag: 'used' });
    await pull(cache, 'app', 'old');
    await pull(cache, 'app', 'used');
    await cache.clock.advance(6 * day);
    await pull(cache, 'app', 'used');
    expect(await sweep(cache)).toMatchObject({ tags: 0, manifests: 0, blobs: 0, files: 0, repositories: 1 });
    await cache.clock.advance(day + hour);
    const report = await sweep(cache);
    expect(report).toMatchObject({ tags: 1, manifests: 2, blobs: 3, files: 5, paused: [], unread: [] });
    expect(report.removals[0]).toMatchObject({
      kind: 'tag',
      upstream: 'up',
      repository: 'app',
      tagOrDigest: 'old',
      reason: 'unused',
    });
    expect(await stored(cache)).toEqual(digestsOf(used));
    expect(cache.seen('sweep-ended').at(-1)).toMatchObject({ outcome: 'finished', tags: 1, files: 5 });
    expect(cache.seen('repository-swept')).toMatchObject([{ repository: 'app', tags: 1, manifests: 2, blobs: 3 }]);
    await pull(cache, 'app', 'old');
    expect(await stored(cache)).toContain(old.root.digest);
  });

  it('an index keeps the children that only others asked for, and their layers', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const image = upstream.addImage('app', { tag: 'multi', platforms: ['linux/amd64', 'linux/arm64'] });
    await pull(cache, 'app', 'multi');
    const [, arm64] = image.manifests;
    for (const { digest } of [arm64!]) expect((await cache.get(`/v2/up/app/manifests/${digest}`)).status).toBe(200);
    for (const { digest } of image.blobs) await cache.get(`/v2/up/app/blobs/${digest}`);
    await cache.clock.advance(6 * day);
    await pullByDigest(cache, 'app', image);
    await cache.clock.advance(6 * day);
    expect(await sweep(cache)).toMatchObject({ tags: 0, manifests: 0, blobs: 0, files: 0 });
    expect(await stored(cache)).toEqual(digestsOf(image));
  });

  it('an image that is only ever pulled by its digest stays as one that is pulled by tag', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const image = upstream.addImage('app', { tag: 'v1' });
    const pinned = upstream.addImage('pinned', { tag: 'never-asked-for' });
    await pull(cache, 'app', 'v1');
    await pullByDigest(cache, 'pinned', pinned);
    for (const { digest } of pinned.blobs) await cache.get(`/v2/up/pinned/blobs/${digest}`);
    await cache.clock.advance(4 * day);
    await pullByDigest(cache, 'pinned', pinned);
    await cache.clock.advance(4 * day);
    expect(await sweep(cache)).toMatchObject({ tags: 1, manifests: 1, blobs: 3, files: 4 });
    expect(await stored(cache)).toEqual(digestsOf(pinned));
    await cache.clock.advance(4 * day);
    expect(await sweep(cache)).toMatchObject({ tags: 0, manifests: 1, blobs: 3, files: 4 });
    expect(await stored(cache)).not.toEqual(digestsOf(image));
    expect(await stored(cache)).toEqual([]);
  });

  it('a layer of two repositories stays as long as either uses it, and each answers for its own only', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const one = upstream.addImage('one', { tag: 'v1', seed: 'same' });
    upstream.addImage('two', { tag: 'v1', seed: 'same' });
    await pull(cache, 'one', 'v1');
    await pull(cache, 'two', 'v1');
    await cache.clock.advance(5 * day);
    await pull(cache, 'two', 'v1');
    await cache.clock.advance(3 * day);
    expect(await sweep(cache)).toMatchObject({ tags: 1, manifests: 1, blobs: 3, files: 0 });
    expect(await stored(cache)).toEqual(digestsOf(one));
    expect(await cache.cache.has('up/one:v1')).toBe(false);
    expect(await cache.cache.has('up/two:v1')).toBe(true);
    await cache.clock.advance(5 * day);
    expect(await sweep(cache)).toMatchObject({ tags: 1, files: 4 });
    expect(await stored(cache)).toEqual([]);
  });

  it('a blob that was asked for without a manifest stays as long as it is used', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const { config } = upstream.addImage('app', { tag: 'v1' });
    await cache.get(`/v2/up/app/blobs/${config.digest}`);
    await cache.clock.advance(6 * day);
    expect(await sweep(cache)).toMatchObject({ blobs: 0, files: 0 });
    await cache.clock.advance(2 * day);
    expect(await sweep(cache)).toMatchObject({ blobs: 1, files: 1 });
  });

  it('a tag that moved on keeps the image that it stood for, when all of that was here and not of the new one', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const before = upstream.addImage('app', { tag: 'latest', seed: 1 });
    await pull(cache, 'app', 'latest');
    const after = upstream.addImage('app', { tag: 'latest', seed: 2 });
    await cache.clock.advance(6 * day);
    expect((await cache.get('/v2/up/app/manifests/latest')).headers['docker-content-digest']).toBe(after.root.digest);
    await cache.clock.advance(6 * day);
    expect(await sweep(cache)).toMatchObject({ tags: 0, manifests: 0, blobs: 0, files: 0 });
    await upstream.stop();
    expect((await cache.get('/v2/up/app/manifests/latest')).headers['docker-content-digest']).toBe(before.root.digest);
  });

  it('the content of a tag that the upstream took away goes too', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    upstream.addImage('app', { tag: 'gone' });
    await pull(cache, 'app', 'gone');
    upstream.removeTag('app', 'gone');
    for (let days = 0; days < 8; days++) {
      await cache.clock.advance(day);
      expect((await cache.get('/v2/up/app/manifests/gone')).status).toBe(404);
    }
    expect(await sweep(cache)).toMatchObject({ tags: 1, files: 4 });
    expect(await stored(cache)).toEqual([]);
  });

  it('signatures stay as long as the image that they are of', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const image = upstream.addImage('app', { tag: 'v1' });
    const signature = upstream.addReferrer('app', { subject: image.root, artifactType: 'application/x.signature' });
    await pull(cache, 'app', 'v1');
    expect((await cache.get(`/v2/up/app/referrers/${image.root.digest}`)).status).toBe(200);
    expect((await cache.get(`/v2/up/app/manifests/${signature.digest}`)).status).toBe(200);
    await cache.clock.advance(6 * day);
    await pull(cache, 'app', 'v1');
    await cache.clock.advance(6 * day);
    expect(await sweep(cache)).toMatchObject({ manifests: 0, files: 0 });
    await cache.clock.advance(2 * day);
    expect(await sweep(cache)).toMatchObject({ tags: 1, manifests: 2, files: 5 });
    expect(await stored(cache)).toEqual([]);
  });

  it('bytes that no repository has stay as long after they came', async () => {
    const { cache } = await startPair({ cache: byHand });
    const { signal } = new AbortController();
    const bytes = Buffer.from('nobody has it');
    const store = fileStorage(cache.directory, { clock: cache.clock });
    // What came before the first one may have been in use until then.
    await sweep(cache);
    await store.blobs.put({ digest: digestOf(bytes), bytes, signal });
    await cache.clock.advance(6 * day);
    expect(await sweep(cache)).toMatchObject({ files: 0 });
    await cache.clock.advance(2 * day);
    expect(await sweep(cache)).toMatchObject({ files: 1, bytes: bytes.byteLength });
  });
});

describe('rules say what else stays', () => {
  it('tags by their name, the last used ones, and whole repositories', async () => {
    const { upstream, cache } = await startPair({
      cache: {
        retention: {
          every: false,
          unusedFor: '1d',
          rules: [
            { upstream: 'other', unusedFor: '1ms' },
            { repositories: ['release/**'], unusedFor: 'never' },
            { repositories: ['ci/*'], keep: ['v*'], keepLast: 1 },
          ],
        },
      },
    });
    const pulled: [string, string][] = [
      ['release/app', 'v1'],
      ['ci/app', 'v1'],
      ['ci/app', 'a'],
      ['ci/app', 'b'],
      ['plain', 'v1'],
    ];
    for (const [repository, tag] of pulled) {
      upstream.addImage(repository, { tag });
      await pull(cache, repository, tag);
      await cache.clock.advance(hour);
    }
    await cache.clock.advance(2 * day);
    const { removals } = await sweep(cache);
    const tags = removals
      .filter(({ kind }) => kind === 'tag')
      .map(({ repository, tagOrDigest }) => [repository, tagOrDigest]);
    expect(tags.sort()).toEqual([
      ['ci/app', 'a'],
      ['plain', 'v1'],
    ]);
  });
});

describe('one flipped bit in the record of a tag', () => {
  const keyOfTag = 'tag/up/-/app/rotten';

  async function startRotten(retention: RetentionOptions) {
    const { upstream, cache } = await startPair({ cache: { retention: { every: false, ...retention } } });
    for (const tag of ['rotten', 'sound']) {
      upstream.addImage('app', { tag, seed: tag });
      await pull(cache, 'app', tag);
    }
    await cache.cache.close();
    flipByte(join(cache.directory, 'metadata', `${keyOfTag}=`));
    await cache.restart();
    return cache;
  }

  it('kept all of its repository for good, and nobody was told', async () => {
    const cache = await startRotten({});
    const { metadata } = fileStorage(cache.directory, { clock: cache.clock });
    const { signal } = new AbortController();
    // Nothing of a list of referrers is known either.
    await metadata.set('referrers/up/-/app/x', 'not json', { signal });
    expect(await sweep(cache)).toMatchObject({ tags: 0, files: 0, unread: [] });
    const told = cache.seen('store-failed').map(({ operation, subject }) => `${operation} ${subject}`);
    expect(new Set(told)).toEqual(new Set([`metadata-get ${keyOfTag}`, 'metadata-get referrers/up/-/app/x']));
    await cache.clock.advance(8 * day);
    expect(await sweep(cache)).toMatchObject({ tags: 2, manifests: 2, blobs: 6, files: 8, unread: [] });
    for (const kind of ['tag/', 'referrers/']) expect(await metadata.list(kind, { limit: 10, signal })).toEqual([]);
  });

  it('keeps all of its repository where a rule keeps that tag', async () => {
    const cache = await startRotten({ rules: [{ keep: ['rotten'] }] });
    await cache.clock.advance(8 * day);
    const unread = [{ upstream: 'up', repository: 'app' }];
    expect(await sweep(cache)).toMatchObject({ tags: 0, files: 0, unread });
  });
});

describe('nothing goes', () => {
  it('of an upstream that does not answer, however long it is away, until it does again', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    upstream.addImage('app', { tag: 'v1' });
    await pull(cache, 'app', 'v1');
    await upstream.stop();
    await cache.clock.advance(30 * day);
    expect(await sweep(cache)).toMatchObject({ tags: 0, files: 0, paused: ['up'] });
    expect(cache.seen('sweep-paused').at(-1)).toMatchObject({ upstream: 'up' });
    expect((await cache.get('/v2/up/app/manifests/v1')).status).toBe(200);
  });

  it('of an upstream that is set to offline while the sweep is at it', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const repositories = ['app', 'other', 'third'];
    for (const repository of repositories) {
      upstream.addImage(repository, { tag: 'v1' });
      await pull(cache, repository, 'v1');
    }
    await cache.clock.advance(8 * day);
    const held = gate();
    upstream.on({ path: '/v2/' }, { gate: held });
    const sweeping = cache.cache.sweep();
    await held.reached;
    await cache.cache.upstreams.update('up', { mode: 'offline' });
    held.open();
    expect(await sweeping).toMatchObject({ tags: 0, manifests: 0, blobs: 0, files: 0, paused: ['up'] });
    expect(cache.seen('sweep-paused')).toHaveLength(1);
    for (const repository of repositories) expect(await cache.cache.has(`up/${repository}:v1`)).toBe(true);
  });

  it('while a record of a later release may hold it, in its repository', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    for (const repository of ['torn', 'sound']) {
      upstream.addImage(repository, { tag: 'v1' });
      await pull(cache, repository, 'v1');
    }
    await cache.clock.advance(8 * day);
    const { signal } = new AbortController();
    const { metadata } = fileStorage(cache.directory, { clock: cache.clock });
    await metadata.set('tag/up/-/torn/v2', '{"format":2}', { signal });
    expect(await sweep(cache)).toMatchObject({
      tags: 1,
      manifests: 1,
      blobs: 3,
      unread: [{ upstream: 'up', repository: 'torn' }],
    });
    expect(await cache.cache.has('up/torn:v1')).toBe(true);
  });

  it('that came into use while the sweep was at it', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const image = upstream.addImage('app', { tag: 'v1' });
    await pull(cache, 'app', 'v1');
    await cache.clock.advance(8 * day);
    const held = gate();
    upstream.on({ path: '/v2/' }, { gate: held });
    const sweeping = cache.cache.sweep();
    await expect.poll(() => upstream.requests.filter(({ path }) => path === '/v2/').length).toBe(1);
    await pull(cache, 'app', 'v1');
    held.open();
    expect(await sweeping).toMatchObject({ tags: 0, manifests: 0, blobs: 0, files: 0 });
    expect(await stored(cache)).toEqual(digestsOf(image));
  });

  it('that another repository proved to have while the sweep was at it, with all that it needs', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const image = upstream.addImage('old', { tag: 'v1', seed: 'same' });
    upstream.addImage('new', { tag: 'v1', seed: 'same' });
    await pull(cache, 'old', 'v1');
    await cache.clock.advance(8 * day);
    const held = gate();
    upstream.on({ path: '/v2/' }, { gate: held });
    const sweeping = cache.cache.sweep();
    await expect.poll(() => upstream.requests.filter(({ path }) => path === '/v2/').length).toBe(1);
    expect((await cache.get('/v2/up/new/manifests/v1')).status).toBe(200);
    held.open();
    expect(await sweeping).toMatchObject({ tags: 1, manifests: 1, blobs: 3, files: 0 });
    expect(await stored(cache)).toEqual(digestsOf(image));
  });

  it('that somebody still reads', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const image = upstream.addImage('app', { tag: 'v1', layerSizes: [4 * 1024 * 1024] });
    await pull(cache, 'app', 'v1');
    const [layer] = image.layers;
    await expect.poll(() => cache.seen('ingest-ended').length).toBe(2);
    const { signal } = new AbortController();
    const asked = { method: 'GET', url: `/v2/up/app/blobs/${layer!.digest}`, basePath: '', signal };
    const body = async () => new Uint8Array();
    const answer = await cache.cache.handle({ ...asked, body, headers: { get: () => null } });
    const reader = (answer!.body as Bytes)[Symbol.asyncIterator]();
    await reader.next();
    await cache.clock.advance(8 * day);
    expect(await sweep(cache)).toMatchObject({ tags: 0, manifests: 0, blobs: 0, files: 0 });
    expect(await stored(cache)).toEqual(digestsOf(image));
    await reader.return?.();
    await expect.poll(() => sweep(cache)).toMatchObject({ tags: 1, blobs: 2, files: 3 });
  });

  it('for want of records that the metadata store lost, until it is unused for as long as all else', async () => {
    const { upstream, cache } = await startPair({ cache: byHand });
    const image = upstream.addImage('app', { tag: 'v1' });
    await pull(cache, 'app', 'v1');
    await cache.clock.advance(8 * day);
    await pull(cache, 'app', 'v1');
    const { clock, directory } = cache;
    const { metadata } = memoryStorage({ clock });
    await cache.restart({ storage: { ...fileStorage(directory, { clock }), metadata } });
    expect(await sweep(cache)).toMatchObject({ repositories: 0, files: 0 });
    expect(await stored(cache)).toEqual(digestsOf(image));
    await clock.advance(7 * day);
    expect(await sweep(cache)).toMatchObject({ files: 4 });
  });

  it('when retention is off, but by a sweep that somebody asks for', async () => {
    const { upstream, cache } = await startPair({ cache: { retention: false } });
    upstream.addImage('app', { tag: 'v1' });
    await pull(cache, 'app', 'v1');
    for (let days = 0; days < 10; days++) await cache.clock.advance(day);
    expect(cache.seen('sweep-ended')).toEqual([]);
    expect(await sweep(cache)).toMatchObject({ tags: 1, files: 4 });
  });
});

it('a sweep comes by itself, not right after the start', async () => {
  const { cache } = await startPair({ cache: { storage: memoryStorage() } });
  await cache.clock.advance(10 * 60_000);
  expect(cache.seen('sweep-ended')).toEqual([]);
  await cache.clock.advance(10 * 60_000);
  await expect.poll(() => cache.seen('sweep-ended')).toMatchObject([{ outcome: 'finished', dryRun: false }]);
});

it('a repository that went is listed again with the next pull, also of a replica that did not sweep', async () => {
  const upstream = await startUpstream();
  upstream.addImage('app', { tag: 'v1' });
  const upstreams = [{ key: 'up', url: upstream.url }];
  const storage = { ...memoryStorage(), coordinator: localCoordinator() };
  const clock = manualClock();
  const options = { ...byHand, upstreams, storage, clock, catalog: true };
  const [here, there] = [await startCache(options), await startCache(options)];
  const listed = () =>
    Promise.all([here, there].map(async ({ cache }) => (await cache.contents.repositories()).repositories));
  const app = [{ upstream: 'up', repository: 'app' }];
  await here.get('/v2/up/app/manifests/v1');
  expect(await listed()).toEqual([app, app]);
  await clock.advance(8 * day);
  expect(await there.cache.sweep()).toMatchObject({ tags: 1 });
  expect(await listed()).toEqual([[], []]);
  await here.get('/v2/up/app/manifests/v1');
  expect(await listed()).toEqual([app, app]);
});

it('content of an upstream that was removed goes when it is unused, though nobody can be asked', async () => {
  const { upstream, cache } = await startPair({ cache: byHand });
  upstream.addImage('app', { tag: 'v1' });
  await pull(cache, 'app', 'v1');
  await cache.restart({ upstreams: [{ key: 'another', url: upstream.url }] });
  await cache.clock.advance(8 * day);
  expect(await sweep(cache)).toMatchObject({ tags: 1, files: 4, paused: [] });
});

it('a sweep is left by its signal, and ended by the close of the cache; what it left is done by the next', async () => {
  const { upstream, cache } = await startPair({ cache: byHand });
  for (const repository of ['a', 'b', 'c']) {
    upstream.addImage(repository, { tag: 'v1' });
    await pull(cache, repository, 'v1');
  }
  await cache.clock.advance(8 * day);
  const caller = new AbortController();
  const onProgress = ({ tags }: SweepReport) => tags > 0 && caller.abort(new Error('enough'));
  await expect(cache.cache.sweep({ signal: caller.signal, onProgress })).rejects.toThrow('enough');
  await expect.poll(() => cache.seen('sweep-ended').at(-1)?.outcome).toBe('stopped');
  const held = gate();
  upstream.on({ path: '/v2/' }, { gate: held });
  const sweeping = cache.cache.sweep();
  sweeping.catch(() => undefined);
  await expect.poll(() => upstream.requests.filter(({ path }) => path === '/v2/').length).toBe(2);
  await cache.restart();
  await expect(sweeping).rejects.toMatchObject({ code: 'closed' });
  held.open();
  await sweep(cache);
  await cache.clock.advance(8 * day);
  await sweep(cache);
  expect(await stored(cache)).toEqual([]);
});
