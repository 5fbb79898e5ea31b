import { memoryStorage, type WarmProgress } from '@proxycache/core';
import { chunkGate, flakyStore, gate } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { startPair } from './cache-under-test.ts';
import { clientStyles, pullImage } from './pull-image.ts';

const KiB = 1024;
const three = ['linux/amd64', 'linux/arm64', 'linux/s390x'];
const two = ['linux/amd64', 'linux/arm64/v8'];
const blobs = { path: /\/blobs\// };

/** What the upstream was asked, as `HEAD /v2/…`. */
const asked = (upstream: { requests: readonly { method: string; path: string }[] }) =>
  upstream.requests.map(({ method, path }) => `${method} ${path}`);

describe('an image that was warmed', () => {
  test.each(clientStyles)(
    'for two platforms: a pull of either (%s) makes one HEAD upstream and nothing else',
    async (style) => {
      const { upstream, cache } = await startPair();
      const image = upstream.addImage('team/app', { tag: '1', platforms: three });
      const report = await cache.cache.warm(['up/team/app:1'], { platforms: two });
      expect(report).toMatchObject({ failed: 0, references: [{ outcome: 'stored', digest: image.root.digest }] });
      expect(upstream.count({ ...blobs, method: 'GET' })).toBe(6);
      for (const [at, platform] of image.manifests.slice(0, 2).entries()) {
        upstream.clear();
        const pulled = await pullImage(cache, { path: '/v2/up/team/app', tag: '1' }, style);
        expect(pulled.status).toBe(200);
        for (const digest of [platform, ...image.blobs.slice(at * 3, at * 3 + 3)].map((one) => one.digest)) {
          const kind = digest === platform.digest ? 'manifests' : 'blobs';
          expect((await cache.get(`/v2/up/team/app/${kind}/${digest}`)).status).toBe(200);
        }
        expect(asked(upstream)).toEqual(['HEAD /v2/team/app/manifests/1']);
      }
      upstream.clear();
      expect((await cache.get(`/v2/up/team/app/manifests/${image.manifests[2]?.digest}`)).status).toBe(200);
      expect(upstream.requests).toHaveLength(1);
    },
  );

  test('within freshFor asks nothing at all, and after a restart neither', async () => {
    const { upstream, cache } = await startPair({ freshFor: '1h' });
    upstream.addImage('team/app', { tag: '1', platforms: two });
    await cache.cache.warm(['up/team/app:1']);
    await cache.restart();
    upstream.clear();
    expect((await pullImage(cache, { path: '/v2/up/team/app', tag: '1' }, 'get-by-tag')).status).toBe(200);
    expect(upstream.requests).toEqual([]);
  });

  test('is not fetched again: the second time it is here, and so is what clients brought in', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, { path: '/v2/up/team/app', tag: '1' });
    await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
    upstream.clear();
    expect(await cache.cache.warm(['up/team/app:1'])).toMatchObject({ bytes: 0, references: [{ outcome: 'here' }] });
    expect(asked(upstream)).toEqual(['HEAD /v2/team/app/manifests/1']);
  });

  test('by its digest alone, without a tag', async () => {
    const { upstream, cache } = await startPair();
    const { root } = upstream.addImage('team/app');
    const reference = `up/team/app@${root.digest}`;
    expect(await cache.cache.warm([reference])).toMatchObject({ references: [{ reference, outcome: 'stored' }] });
    expect(await cache.cache.has(reference)).toBe(true);
  });

  test('asked for twice is fetched once, and so are layers that two images share', async () => {
    const { upstream, cache } = await startPair();
    for (const tag of ['1', '2']) upstream.addImage('team/app', { tag, seed: 'same' });
    const again = ['up/team/app:1', 'up/team/app:1', 'up/team/app:2'];
    const { references, bytes } = await cache.cache.warm(again);
    expect(references.map(({ reference, outcome }) => [reference, outcome === 'failed'])).toEqual(
      again.map((reference) => [reference, false]),
    );
    expect(upstream.count({ ...blobs, method: 'GET' })).toBe(3);
    expect(references.reduce((sum, one) => sum + one.bytes, 0)).toBe(bytes);
  });
});

describe('19: a warmed image was proven to be its repository’s', () => {
  test('also where another one had its layer under way, and no HEAD proves anything: it is served without its upstream', async () => {
    const { upstream, cache } = await startPair({ fake: { personality: ['no-digest', 'no-content-length'] } });
    const same = { tag: '1', seed: 'same', layerSizes: [3000 * KiB] };
    const { digest } = upstream.addImage('team/app', same).layers[0]!;
    upstream.addImage('other/app', same);
    const chunks = chunkGate(100 * KiB);
    upstream.on({ method: 'GET', path: `/v2/team/app/blobs/${digest}` }, { throttle: chunks });
    const client = cache.get(`/v2/up/team/app/blobs/${digest}`);
    chunks.allow(2);
    await expect.poll(() => upstream.sentBytes({ digest })).toBe(200 * KiB);
    const warming = cache.cache.warm(['up/other/app:1']);
    // For itself, as long as it may not read what comes for the other one.
    await expect.poll(() => upstream.count({ method: 'GET', path: `/v2/other/app/blobs/${digest}` })).toBe(1);
    chunks.open();
    expect(await warming).toMatchObject({ failed: 0, references: [{ outcome: 'stored' }] });
    expect((await client).status).toBe(200);
    await upstream.stop();
    expect(await cache.cache.has('up/other/app:1')).toBe(true);
    expect((await cache.get(`/v2/up/other/app/blobs/${digest}`)).body.byteLength).toBe(3000 * KiB);
  });

  test('where proofs hold for no time one that was given meanwhile will do, and all is asked for once', async () => {
    const { upstream, cache } = await startPair({
      linkValidFor: 0,
      cache: {
        observer: ({ type }) => {
          if (type === 'ingest-ended') cache.clock.set(cache.clock.now() + 1);
        },
      },
    });
    upstream.addImage('team/app', { tag: '1' });
    expect(await cache.cache.warm(['up/team/app:1'])).toMatchObject({ failed: 0, references: [{ outcome: 'stored' }] });
    expect(upstream.count(blobs)).toBe(3);
  });
});

describe('what cannot be warmed is told, and keeps the rest from nothing', () => {
  test('a platform that an index does not have: by what it has, and the others are stored', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm/v6'] });
    const { references } = await cache.cache.warm(['up/team/app:1'], { platforms: ['linux/amd64', 'linux/arm/v7'] });
    expect(references).toMatchObject([{ outcome: 'failed', failures: 1, error: { code: 'manifest-unknown' } }]);
    expect(references[0]?.error?.message).toBe(
      'team/app:1 of up has nothing for linux/arm/v7; it has linux/amd64, linux/arm/v6',
    );
    expect(await cache.cache.has('up/team/app:1')).toBe(true);
  });

  test('a child that the upstream has not, and a blob that it gives wrong', async () => {
    const { upstream, cache } = await startPair();
    const lacking = upstream.addImage('team/lacking', { tag: '1', platforms: two });
    const wrong = upstream.addImage('team/wrong', { tag: '1' });
    upstream.addImage('team/right', { tag: '1' });
    upstream.on({ path: `/v2/team/lacking/manifests/${lacking.manifests[1]?.digest}` }, { status: 404 });
    upstream.on({ method: 'GET', path: `/v2/team/wrong/blobs/${wrong.layers[1]?.digest}` }, { corruptAt: 5 });
    const names = ['lacking', 'wrong', 'right', 'none'].map((name) => `up/team/${name}:1`);
    const report = await cache.cache.warm([...names, 'nowhere/app:1', 'up/team/app:*']);
    expect(report.references.map(({ outcome, error, failures }) => [outcome, error?.code, failures])).toEqual([
      ['failed', 'manifest-unknown', 1],
      ['failed', 'digest-mismatch', 1],
      ['stored', undefined, undefined],
      ['failed', 'name-unknown', 1],
      ['failed', 'name-unknown', 1],
      ['failed', 'tag-invalid', 1],
    ]);
    expect(report.failed).toBe(5);
    expect(await cache.cache.has('up/team/lacking:1')).toBe(true);
    expect(await cache.cache.has('up/team/wrong:1')).toBe(false);
  });

  test('an upstream that is down: what is here is told with the warning that a client gets', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    await cache.cache.warm(['up/team/app:1']);
    await upstream.stop();
    const { references } = await cache.cache.warm(['up/team/app:1', 'up/team/other:1']);
    expect(references).toMatchObject([
      { outcome: 'here', warning: expect.stringMatching(/^stale: up is unavailable/) },
      { outcome: 'failed', error: { code: 'unreachable' } },
    ]);
  });

  test('what exclude or admission refuse is not asked for, or not brought in', async () => {
    const admit = ({ repository }: { repository: string }) =>
      repository.endsWith('bad') ? ({ deny: true, reason: 'no' } as const) : ({ allow: true } as const);
    const { upstream, cache } = await startPair({
      exclude: { repositories: ['secret/*'] },
      cache: { admission: { admit } },
    });
    for (const name of ['secret/app', 'team/bad', 'team/good']) upstream.addImage(name, { tag: '1' });
    const { references } = await cache.cache.warm(['up/secret/app:1', 'up/team/bad:1', 'up/team/good:1']);
    expect(references.map(({ outcome, error }) => [outcome, error?.code])).toEqual([
      ['failed', 'not-admitted'],
      ['failed', 'not-admitted'],
      ['stored', undefined],
    ]);
    expect(upstream.count({ path: /secret/ })).toBe(0);
    expect(upstream.count({ path: /bad\/blobs/ })).toBe(0);
  });

  test('an upstream that is asked with its callers’ credentials has no caller here', async () => {
    const { cache } = await startPair({ credentials: 'caller' });
    const { references } = await cache.cache.warm(['up/team/app:1']);
    expect(references).toMatchObject([{ outcome: 'failed', error: { code: 'unauthenticated' } }]);
  });

  test('what does not fit into maxBytes or minFree is not said to be stored', async () => {
    const small = await startPair({ cache: { retention: { every: false, maxBytes: 100 * KiB } } });
    small.upstream.addImage('team/app', { tag: '1', layerSizes: [200 * KiB, KiB] });
    const report = await small.cache.cache.warm(['up/team/app:1']);
    expect(report.references).toMatchObject([{ outcome: 'failed', failures: 1, error: { code: 'quota-exceeded' } }]);
    const full = await startPair({ cache: { minFree: Number.MAX_SAFE_INTEGER } });
    full.upstream.addImage('team/app', { tag: '1' });
    const { references } = await full.cache.cache.warm(['up/team/app:1']);
    expect(references).toMatchObject([{ outcome: 'failed', failures: 3, error: { code: 'storage-full' } }]);
  });

  test('what made way for the next image is not said to be stored', async () => {
    const { upstream, cache } = await startPair({ cache: { retention: { every: false, maxBytes: 300 * KiB } } });
    for (const tag of ['1', '2', '3']) upstream.addImage('team/app', { tag, layerSizes: [120 * KiB] });
    const all = ['1', '2', '3'].map((tag) => `up/team/app:${tag}`);
    const { references } = await cache.cache.warm(all, { concurrency: 1 });
    const stored = await Promise.all(all.map((reference) => cache.cache.has(reference)));
    expect(references.map(({ outcome }) => outcome === 'stored')).toEqual(stored);
    expect(stored.filter((is) => !is).length).toBeGreaterThan(0);
    expect(references.find(({ error }) => error)?.error?.code).toBe('quota-exceeded');
  });

  test('a store that takes nothing: what waits for it is counted, and what may not wait is not said to be stored', async () => {
    const references = async (options: { maxWaitingBytes?: number }) => {
      const storage = flakyStore(memoryStorage());
      storage.on('blobs.adopt', { fail: 'full' });
      const { upstream, cache } = await startPair({ cache: { storage, ...options } });
      upstream.addImage('team/app', { tag: '1' });
      return (await cache.cache.warm(['up/team/app:1'])).references;
    };
    expect(await references({})).toMatchObject([{ outcome: 'stored', waiting: 3 }]);
    const failed = { outcome: 'failed', failures: 3, error: { code: 'storage-failed' } };
    expect(await references({ maxWaitingBytes: 0 })).toMatchObject([failed]);
  });
});

describe('while it runs', () => {
  test('it tells how far it has come, also within a blob', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3000 * KiB] });
    const chunks = chunkGate(100 * KiB);
    upstream.on({ method: 'GET', digest: image.layers[0]!.digest }, { throttle: chunks });
    const seen: WarmProgress[] = [];
    const warming = cache.cache.warm(['up/team/app:1', 'up/team/none:1'], { onProgress: (soFar) => seen.push(soFar) });
    warming.catch(() => undefined);
    chunks.allow(3);
    const { digest } = image.layers[0]!;
    await expect.poll(() => upstream.sentBytes({ digest })).toBe(300 * KiB);
    await expect
      .poll(async () => {
        await cache.clock.advance(1_000);
        return seen.at(-1)?.bytes.done ?? 0;
      })
      .toBeGreaterThan(200 * KiB);
    expect(seen.at(-1)).toMatchObject({
      references: { total: 2, done: 1, failed: 1 },
      contents: { known: 4 },
    });
    chunks.open();
    await warming;
    expect(seen.at(-1)).toMatchObject({
      references: { total: 2, done: 2, failed: 1 },
      contents: { known: 4, done: 4 },
    });
    const { known, done } = seen.at(-1)!.bytes;
    expect(done).toBe(known);
  });

  test('what onProgress throws is dropped', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    const onProgress = () => {
      throw new Error('mine');
    };
    expect(await cache.cache.warm(['up/team/app:1'], { onProgress })).toMatchObject({ failed: 0 });
  });

  test('so many blobs at a time are asked for, however many images there are', async () => {
    const { upstream, cache } = await startPair();
    for (const tag of ['1', '2', '3']) upstream.addImage('team/app', { tag, layerSizes: [1, 2, 3, 4] });
    const held = gate();
    upstream.on({ ...blobs, method: 'GET' }, { gate: held });
    const warming = cache.cache.warm(
      ['1', '2', '3'].map((tag) => `up/team/app:${tag}`),
      { concurrency: 2 },
    );
    await held.reachedBy(2);
    for (let i = 0; i < 5; i++) await cache.get('/v2/');
    expect(upstream.underWay()).toBe(2);
    held.open();
    expect(await warming).toMatchObject({ failed: 0 });
  });

  test('a concurrency that is far more than there is to do costs nothing', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    const concurrency = Number.MAX_SAFE_INTEGER;
    expect(await cache.cache.warm(['up/team/app:1'], { concurrency })).toMatchObject({ failed: 0 });
  });

  test('it can be cancelled: what nobody else reads ends, nothing half is left, and what came is kept', async () => {
    const { upstream, cache } = await startPair();
    const first = upstream.addImage('team/app', { tag: '1', layerSizes: [10, 4000 * KiB, 4000 * KiB] });
    const [small, read, unread] = first.layers.map(({ digest }) => digest);
    const gates = [read!, unread!].map((digest) => {
      const chunks = chunkGate(100 * KiB);
      upstream.on({ method: 'GET', digest }, { throttle: chunks });
      return chunks;
    });
    const stop = new AbortController();
    const warming = cache.cache.warm(['up/team/app:1'], { signal: stop.signal });
    warming.catch(() => undefined);
    for (const chunks of gates) chunks.allow(2);
    await expect.poll(() => upstream.sentBytes({ digest: unread! })).toBeGreaterThan(0);
    await expect.poll(() => upstream.sentBytes({ digest: read! })).toBeGreaterThan(0);
    // Its head is here: it reads along.
    const client = await fetch(`${cache.url}/v2/up/team/app/blobs/${read}`);
    stop.abort(new Error('enough'));
    await expect(warming).rejects.toThrow('enough');
    for (const chunks of gates) chunks.open();
    expect([client.status, (await client.arrayBuffer()).byteLength]).toEqual([200, 4000 * KiB]);
    await expect
      .poll(() =>
        cache
          .seen('ingest-ended')
          .map(({ outcome }) => outcome)
          .sort(),
      )
      .toEqual(['failed', 'stored', 'stored', 'stored']);
    expect(upstream.count({ digest: read! })).toBe(1);
    upstream.clear();
    expect((await cache.get(`/v2/up/team/app/blobs/${small}`)).status).toBe(200);
    expect(upstream.requests).toEqual([]);
    expect(await cache.cache.warm(['up/team/app:1'])).toMatchObject({ failed: 0 });
  });

  test('it leaves the places of transfers to clients, and goes on when one is free', async () => {
    const { upstream, cache } = await startPair({ cache: { maxIngests: 1 } });
    const theirs = upstream.addImage('team/theirs', { tag: '1' });
    upstream.addImage('team/app', { tag: '1' });
    const held = gate();
    const digest = theirs.layers[0]!.digest;
    upstream.on({ method: 'GET', digest }, { gate: held });
    const client = cache.get(`/v2/up/team/theirs/blobs/${digest}`);
    await held.reached;
    const warming = cache.cache.warm(['up/team/app:1']);
    await expect.poll(() => upstream.count({ path: /app\/manifests/ })).toBe(1);
    held.open();
    expect((await client).status).toBe(200);
    let done = false;
    const ended = warming.finally(() => {
      done = true;
    });
    await expect
      .poll(async () => {
        await cache.clock.advance(1_000);
        return done;
      })
      .toBe(true);
    expect(await ended).toMatchObject({ failed: 0 });
  });

  test('it ends with the cache', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    upstream.on({ ...blobs }, { hang: true });
    const warming = cache.cache.warm(['up/team/app:1']);
    warming.catch(() => undefined);
    await expect.poll(() => upstream.count(blobs)).toBe(3);
    await cache.restart();
    await expect(warming).rejects.toMatchObject({ code: 'closed' });
  });
});

test.each([
  ['a', {}, 'warm: references: expected a list'],
  [[1], {}, 'warm: references[0]: expected a reference'],
  [
    ['a/b'],
    { platforms: ['amd64'] },
    'warm: platforms[0]: expected a platform such as "linux/amd64", received "amd64"',
  ],
  [['a/b'], { platforms: [] }, 'warm: platforms: expected at least one platform'],
  [['a/b'], { concurrency: 0 }, 'warm: concurrency: expected a whole number from 1, received 0'],
  [Array.from({ length: 10_001 }, () => 'a/b'), {}, 'warm: references: expected 10000 or fewer'],
])('options that are wrong are named', async (references, options, message) => {
  const { cache } = await startPair();
  await expect(cache.cache.warm(references as never, options)).rejects.toThrow(message);
});
