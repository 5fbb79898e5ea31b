import type { Duration, Storage } from '@proxycache/core';
import {
  chunkGate,
  credentialFiles,
  type FakeUpstream,
  gate,
  type Personality,
  seededBytes,
} from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startCache, startPair, startUpstream } from './cache-under-test.ts';
import { stepClock } from './step-clock.ts';

const MiB = 1024 * 1024;
const size = 3 * MiB;
const blobOf = (repository: string, digest: string) => `/v2/up/${repository}/blobs/${digest}`;
const manifestOf = (repository: string, reference: string) => `/v2/up/${repository}/manifests/${reference}`;
const count = (upstream: FakeUpstream, method: string, repository: string) =>
  upstream.count({ method, path: new RegExp(`^/v2/${repository}/`) });

/** A blob that `team/app` has, and `other/app` perhaps. */
function addBlob(upstream: FakeUpstream, ...repositories: string[]) {
  const bytes = Buffer.from(seededBytes('shared', size));
  const [digest] = repositories.map((repository) => upstream.putBlob(repository, bytes));
  return { bytes, digest: digest! };
}

async function stored(cache: CacheUnderTest, ingests = 1): Promise<void> {
  await expect
    .poll(() => cache.seen('ingest-ended').filter(({ outcome }) => outcome === 'stored'))
    .toHaveLength(ingests);
}

/** A cache whose account is in files, and an image that alice may read and bob may not. */
async function startWithAccount(options: { freshFor?: Duration } = {}) {
  const { auth, write, remove } = credentialFiles();
  onTestFinished(remove);
  const accounts = (password: string) => ({
    alice: { password, repositories: ['team/app'] },
    bob: { password: 'b', repositories: ['other/app'] },
  });
  const bearer = (password: string) => ({ bearer: { public: [], users: accounts(password) } });
  write('alice', 'a');
  const { upstream, cache } = await startPair({ auth, fake: { auth: bearer('a') }, ...options });
  const image = upstream.addImage('team/app', { tag: '1' });
  const [layer] = image.layers;
  const paths = [manifestOf('team/app', image.root.digest), blobOf('team/app', layer!.digest)];
  expect((await cache.get(manifestOf('team/app', '1'))).status).toBe(200);
  for (const path of [...paths, ...paths]) expect((await cache.get(path)).status).toBe(200);
  await stored(cache);
  const statuses = async () => [(await cache.get(paths[0]!)).status, (await cache.get(paths[1]!)).status];
  const setPassword = (password: string) => upstream.change({ auth: bearer(password) });
  return { upstream, cache, write, statuses, setPassword };
}

describe('19: stored bytes need the proof of the repository they are asked through', () => {
  test('one HEAD, no second download, and then nothing', async () => {
    const { upstream, cache } = await startPair();
    const { bytes, digest } = addBlob(upstream, 'team/app', 'other/app');
    await cache.get(blobOf('team/app', digest));
    await stored(cache);
    const first = await cache.get(blobOf('other/app', digest));
    expect(first.body.equals(bytes)).toBe(true);
    expect(first.headers['cache-status']).toBe('proxycache; fwd=uri-miss; fwd-status=200');
    const second = await cache.get(blobOf('other/app', digest));
    expect(second.headers['cache-status']).toBe('proxycache; hit');
    expect([count(upstream, 'HEAD', 'other/app'), count(upstream, 'GET', 'other/app')]).toEqual([1, 0]);
  });

  test('however many ask at once: one HEAD', async () => {
    const { upstream, cache } = await startPair();
    const { bytes, digest } = addBlob(upstream, 'team/app', 'other/app');
    await cache.get(blobOf('team/app', digest));
    await stored(cache);
    const held = gate();
    upstream.on({ method: 'HEAD' }, { gate: held });
    const all = Array.from({ length: 10 }, () => cache.get(blobOf('other/app', digest)));
    await held.reached;
    await cache.clock.advance(50);
    held.open();
    for (const got of await Promise.all(all)) expect(got.body.equals(bytes)).toBe(true);
    expect(upstream.count({ method: 'HEAD' })).toBe(1);
  });

  test('a manifest that names a blob is no proof of it', async () => {
    const { upstream, cache } = await startPair();
    const { digest } = addBlob(upstream, 'team/app');
    await cache.get(blobOf('team/app', digest));
    const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size };
    upstream.putManifest('thief/app', { schemaVersion: 2, config, layers: [] }, { tags: ['1'] });
    expect((await cache.get(manifestOf('thief/app', '1'))).status).toBe(200);
    expect((await cache.get(blobOf('thief/app', digest))).status).toBe(404);
    expect((await cache.head(blobOf('thief/app', digest))).status).toBe(404);
  });

  test('a proof of a manifest is none of a blob, and the other way round', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1' });
    await cache.get(manifestOf('team/app', '1'));
    expect((await cache.get(blobOf('team/app', image.root.digest))).status).toBe(404);
    await cache.get(blobOf('team/app', image.config.digest));
    expect((await cache.get(manifestOf('team/app', image.config.digest))).status).toBe(404);
  });

  test('a manifest is proven by each repository for itself', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', seed: 'same' });
    await cache.get(manifestOf('team/app', '1'));
    upstream.putBlob('other/app', 'something else');
    for (const method of ['get', 'head'] as const) {
      expect((await cache[method](manifestOf('other/app', image.root.digest))).status).toBe(404);
    }
    upstream.addImage('other/app', { seed: 'same' });
    expect(digestOfBody((await cache.get(manifestOf('other/app', image.root.digest))).body)).toBe(image.root.digest);
    expect(upstream.count({ method: 'GET', path: /^\/v2\/other\/app\/manifests/ })).toBe(2);
  });

  test('it outlives a restart, the upstream down', async () => {
    const { upstream, cache } = await startPair();
    const { bytes, digest } = addBlob(upstream, 'team/app');
    await cache.get(blobOf('team/app', digest));
    await stored(cache);
    await upstream.stop();
    await cache.restart();
    expect((await cache.get(blobOf('team/app', digest))).body.equals(bytes)).toBe(true);
    expect((await cache.get(blobOf('other/app', digest))).status).toBe(502);
  });

  test("it is void under another URL of the upstream, and needs that one's word", async () => {
    const { upstream, cache } = await startPair();
    const { bytes, digest } = addBlob(upstream, 'team/app');
    await cache.get(blobOf('team/app', digest));
    await stored(cache);
    const moved = await startUpstream();
    await cache.restart({ upstreams: [{ key: 'up', url: moved.url }] });
    expect((await cache.get(blobOf('team/app', digest))).status).toBe(404);
    addBlob(moved, 'team/app');
    moved.clear();
    expect((await cache.get(blobOf('team/app', digest))).body.equals(bytes)).toBe(true);
    expect(moved.count({ method: 'GET', path: /\/blobs\// })).toBe(0);
  });

  test('it is void with other credentials', async () => {
    const auth = (username: string) => ({ basic: { username, password: 'x' } });
    const { upstream, cache } = await startPair({
      fake: { auth: auth('alice') },
      auth: { username: 'alice', password: 'x' },
    });
    const { digest } = addBlob(upstream, 'team/app');
    await cache.get(blobOf('team/app', digest));
    await stored(cache);
    upstream.change({ auth: auth('bob') });
    upstream.clear();
    await cache.restart({ upstreams: [{ key: 'up', url: upstream.url, auth: { username: 'bob', password: 'x' } }] });
    expect((await cache.get(blobOf('team/app', digest))).status).toBe(200);
    expect(upstream.count({ method: 'HEAD' })).toBeGreaterThan(0);
  });

  test('it is void when another user is in the files of the account, also after a restart', async () => {
    const { cache, write, statuses } = await startWithAccount();
    write('bob', 'b');
    await cache.clock.advance(1000);
    await expect.poll(statuses).toEqual([403, 403]);
    await cache.restart();
    expect(await statuses()).toEqual([403, 403]);
    write('alice', 'a');
    await cache.restart();
    expect(await statuses()).toEqual([200, 200]);
  });

  test('it is void as soon as the upstream was asked as another user', async () => {
    const { cache, write, statuses } = await startWithAccount();
    write('bob', 'b');
    expect((await cache.get(manifestOf('team/app', '1'))).status).toBe(403);
    expect(await statuses()).toEqual([403, 403]);
  });

  test.each(['its tag', 'its digest', 'a layer', 'its referrers'])(
    'what was asked for first when another user came, %s, is not a proof of the user before',
    async (what) => {
      const { upstream, cache, write } = await startWithAccount({ freshFor: '1h' });
      const { root, layers } = upstream.addImage('other/app', { tag: '1' });
      upstream.addReferrer('other/app', { subject: root, artifactType: 'application/vnd.example.sbom' });
      const paths: Record<string, string> = {
        'its tag': manifestOf('other/app', '1'),
        'its digest': manifestOf('other/app', root.digest),
        'a layer': blobOf('other/app', layers[0]!.digest),
        'its referrers': `/v2/up/other/app/referrers/${root.digest}`,
      };
      write('bob', 'b');
      expect((await cache.get(paths[what]!)).status).toBe(200);
      if (what === 'a layer') await expect.poll(() => cache.seen('ingest-ended').length).toBeGreaterThan(1);
      write('alice', 'a');
      await cache.clock.advance(1000);
      // Whoever asks then is still answered as bob, and has the files looked at.
      await cache.get(manifestOf('team/app', 'none'));
      expect((await cache.get(manifestOf('team/app', 'none'))).status).toBe(404);
      expect((await cache.get(paths[what]!)).status).toBe(403);
    },
  );

  test('it outlives another password of the same user, in the files of the account', async () => {
    const { upstream, cache, write, statuses, setPassword } = await startWithAccount();
    setPassword('new');
    write('alice', 'new');
    await cache.clock.advance(1000);
    expect((await cache.get(manifestOf('team/app', '1'))).status).toBe(200);
    upstream.clear();
    expect(await statuses()).toEqual([200, 200]);
    await cache.restart();
    expect(await statuses()).toEqual([200, 200]);
    expect(upstream.requests).toEqual([]);
  });

  test('it holds for linkValidFor', async () => {
    const { upstream, cache } = await startPair({ linkValidFor: '1h' });
    const { digest } = addBlob(upstream, 'team/app');
    await cache.get(blobOf('team/app', digest));
    await stored(cache);
    upstream.clear();
    await cache.clock.advance(3_600_000);
    await cache.get(blobOf('team/app', digest));
    expect(upstream.requests).toEqual([]);
    await cache.clock.advance(1);
    expect((await cache.get(blobOf('team/app', digest))).status).toBe(200);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD']);
    upstream.removeBlob('team/app', digest);
    await cache.clock.advance(3_600_001);
    expect((await cache.get(blobOf('team/app', digest))).status).toBe(404);
  });

  test('wrong bytes with a 200 are no proof: what another repository stored is not given out for them', async () => {
    const { upstream, cache } = await startPair();
    const { digest } = addBlob(upstream, 'team/app', 'other/app');
    upstream.on({ method: 'GET', path: /other/ }, { corruptAt: 5 });
    expect((await cache.get(blobOf('other/app', digest))).failure).toBeDefined();
    await cache.get(blobOf('team/app', digest));
    await stored(cache);
    upstream.heal();
    upstream.removeRepository('other/app');
    expect((await cache.get(blobOf('other/app', digest))).status).toBe(404);
    expect((await cache.head(blobOf('other/app', digest))).status).toBe(404);
  });

  test('a HEAD that says yes to anything is no proof: the repository has to give the bytes itself', async () => {
    const { upstream, cache } = await startPair();
    const { bytes, digest } = addBlob(upstream, 'team/app');
    await cache.get(blobOf('team/app', digest));
    await stored(cache);
    const page = { status: 200, headers: { 'content-type': 'application/json' } };
    upstream.on({ method: 'HEAD', path: /other/ }, page);
    upstream.on({ method: 'GET', path: /other/ }, { ...page, body: '{"welcome":true}' });
    const got = await cache.get(blobOf('other/app', digest));
    expect([got.status, got.body.includes(bytes.subarray(0, 100))]).toEqual([502, false]);
    expect((await cache.get(blobOf('other/app', digest))).status).toBe(502);
  });

  describe('a HEAD that does not name the blob and tells another size is no proof', () => {
    async function startAtPortal(named: Record<string, string> = {}) {
      const page = { 'content-type': 'application/json', 'content-length': '1234', ...named };
      const alter: Personality['alter'] = (answer, { method, path }) =>
        method === 'HEAD' && path.includes('/portal/') ? { status: 200, headers: page, body: '' } : answer;
      const pair = await startPair({ fake: { personality: { alter } } });
      const { upstream, cache } = pair;
      const blob = addBlob(upstream, 'team/app');
      const portal = blobOf('portal/app', blob.digest);
      const theirs = () => cache.get(blobOf('team/app', blob.digest));
      const expectRefused = async (options?: Parameters<typeof cache.get>[1]) => {
        expect((await cache.get(portal, options)).status).toBe(404);
        expect(count(upstream, 'GET', 'portal/app')).toBeGreaterThan(0);
      };
      return { ...pair, ...blob, portal, theirs, expectRefused };
    }

    test('of what came in before it', async () => {
      const { cache, theirs, expectRefused } = await startAtPortal();
      await theirs();
      await stored(cache);
      await expectRefused();
      await expectRefused({ headers: { range: 'bytes=0-9' } });
    });

    test('of what came in after it', async () => {
      const { cache, portal, digest, theirs, expectRefused } = await startAtPortal();
      expect((await cache.head(portal)).headers['content-length']).toBe('1234');
      await theirs();
      await stored(cache);
      await expectRefused();
      await expectRefused({ headers: { range: 'bytes=0-9' } });
      await cache.restart();
      await expectRefused();
      expect((await theirs()).headers['cache-status']).toBe('proxycache; hit');
      expect(await cache.cache.has(`up/portal/app@${digest}`)).toBe(false);
    });

    test.each(['before', 'while'])('of what comes in, asked %s it does', async (when) => {
      const { upstream, cache, portal, theirs, bytes, expectRefused } = await startAtPortal();
      const held = gate();
      upstream.on({ method: 'GET', path: /team/ }, { gate: held });
      if (when === 'before') await cache.head(portal);
      const first = theirs();
      await held.reached;
      const refused = expectRefused();
      if (when === 'while') await expect.poll(() => count(upstream, 'HEAD', 'portal/app')).toBe(1);
      await cache.clock.advance(50);
      held.open();
      expect((await first).body.equals(bytes)).toBe(true);
      await refused;
    });

    test('of what came in while it was asked', async () => {
      const { upstream, cache, theirs, expectRefused } = await startAtPortal();
      const [held, asking] = [gate(), gate()];
      upstream.on({ method: 'GET', path: /team/ }, { gate: held });
      upstream.on({ method: 'HEAD', path: /portal/ }, { gate: asking });
      const first = theirs();
      await held.reached;
      const refused = expectRefused();
      await asking.reached;
      held.open();
      await first;
      await stored(cache);
      asking.open();
      await refused;
    });

    test('and one that names it is, whatever size it told', async () => {
      const named = { 'docker-content-digest': digestOfBody(Buffer.from(seededBytes('shared', size))) };
      const { upstream, cache, bytes, portal, theirs } = await startAtPortal(named);
      await cache.head(portal);
      await theirs();
      await stored(cache);
      expect((await cache.get(portal)).body.equals(bytes)).toBe(true);
      expect((await cache.get(portal)).headers['cache-status']).toBe('proxycache; hit');
      expect([count(upstream, 'HEAD', 'portal/app'), count(upstream, 'GET', 'portal/app')]).toEqual([2, 0]);
    });
  });

  test('a HEAD that says 404 is confirmed by a GET before it counts (rule 2)', async () => {
    const { upstream, cache } = await startPair({ fake: { personality: 'head-404' } });
    const { bytes, digest } = addBlob(upstream, 'team/app', 'other/app');
    await cache.get(blobOf('team/app', digest));
    await stored(cache);
    expect((await cache.get(blobOf('other/app', digest))).body.equals(bytes)).toBe(true);
    expect([count(upstream, 'HEAD', 'other/app'), count(upstream, 'GET', 'other/app')]).toEqual([1, 1]);
  });
});

describe('20: a transfer under way', () => {
  async function underWay(...repositories: string[]) {
    const pair = await startPair();
    const { upstream, cache } = pair;
    const blob = addBlob(upstream, 'team/app', ...repositories);
    upstream.putBlob('other/app', 'something else');
    const held = gate();
    upstream.on({ method: 'GET', path: /^\/v2\/team\/app\/blobs/ }, { gate: held });
    const first = cache.get(blobOf('team/app', blob.digest));
    await held.reached;
    return { ...pair, ...blob, first, held };
  }

  test('is joined by another repository after its own HEAD', async () => {
    const { upstream, cache, first, held, bytes, digest } = await underWay('other/app');
    const second = cache.get(blobOf('other/app', digest));
    await expect.poll(() => count(upstream, 'HEAD', 'other/app')).toBe(1);
    held.open();
    for (const got of await Promise.all([first, second])) expect(got.body.equals(bytes)).toBe(true);
    expect(count(upstream, 'GET', 'other/app')).toBe(0);
    expect((await second).headers['cache-status']).toBe('proxycache; fwd=miss; fwd-status=200; stored; collapsed');
  });

  test('that ends while another repository proves its own is not fetched again', async () => {
    const { upstream, cache, first, held, bytes, digest } = await underWay('other/app');
    const proving = gate();
    upstream.on({ method: 'HEAD' }, { gate: proving });
    const second = cache.get(blobOf('other/app', digest));
    await proving.reached;
    held.open();
    await first;
    await stored(cache);
    proving.open();
    expect((await second).body.equals(bytes)).toBe(true);
    expect(upstream.count({ method: 'GET' })).toBe(1);
  });

  test('is not joined by one that does not hold the blob', async () => {
    const { cache, first, held, bytes, digest } = await underWay();
    expect((await cache.get(blobOf('other/app', digest))).status).toBe(404);
    expect((await cache.head(blobOf('other/app', digest))).status).toBe(404);
    const part = { headers: { range: 'bytes=0-9' } };
    expect((await cache.get(blobOf('other/app', digest), part)).status).toBe(404);
    held.open();
    expect((await first).body.equals(bytes)).toBe(true);
    expect((await cache.get(blobOf('other/app', digest))).status).toBe(404);
  });

  test('is not joined by one whose own transfer failed while its client was about to follow it', async () => {
    const [last, held] = [gate(), gate()];
    let looks = 0;
    const wrapStorage = (storage: Storage): Storage => ({
      ...storage,
      metadata: {
        ...storage.metadata,
        async get(key, options) {
          // For what its own manifest tells: before it asks, with the answer, and before it follows that.
          if (/^link\/up\/.*other.*\/manifest/.test(key) && ++looks === 3) await last.pass();
          return await storage.metadata.get(key, options);
        },
      },
    });
    const { upstream, cache } = await startPair({ fake: { personality: 'no-content-length' }, mount: { wrapStorage } });
    const { bytes, digest } = addBlob(upstream, 'team/app', 'other/app');
    const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size };
    upstream.putManifest('team/app', { schemaVersion: 2, config, layers: [] }, { tags: ['1'] });
    await cache.get(manifestOf('team/app', '1'));
    upstream.on({ method: 'HEAD', path: /other/ }, { status: 404 });
    upstream.on({ method: 'GET', path: /other/ }, { corruptAt: 5 });
    upstream.on({ method: 'GET', path: /^\/v2\/team\/app\/blobs/ }, { gate: held });

    const thief = cache.get(blobOf('other/app', digest));
    await last.reached;
    await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'failed' }]);
    const own = cache.get(blobOf('team/app', digest));
    await held.reached;
    last.open();
    await cache.clock.advance(50);
    held.open();
    expect((await own).body.equals(bytes)).toBe(true);
    const got = await thief;
    expect([got.status, got.body.includes(bytes.subarray(0, 100))]).toEqual([502, false]);
  });

  describe('that tells no size is waited for by another repository, whose HEAD told one', () => {
    /** Blobs of which HEAD tells the length and no digest, and that come in chunks without either. */
    async function startChunked({ told = size, ...fault }: { told?: number; corruptAt?: number } = {}) {
      const alter: Personality['alter'] = (answer, { method, path }) => {
        if (!path.includes('/blobs/') || answer.status !== 200) return answer;
        const { 'docker-content-digest': _digest, etag: _etag, ...headers } = answer.headers;
        if (method === 'GET') return { ...answer, headers, chunked: true };
        return path.includes('/other/')
          ? { ...answer, headers: { ...headers, 'content-length': String(told) } }
          : { ...answer, headers };
      };
      const timeouts = { headers: '10m', idle: '10m' } as const;
      const pair = await startPair({ fake: { personality: { alter } }, timeouts, resumeWithin: '10m' });
      const { upstream, cache } = pair;
      const blob = addBlob(upstream, 'team/app', 'other/app');
      const [chunks, held] = [chunkGate(MiB), gate()];
      upstream.on({ method: 'GET', path: /^\/v2\/other/ }, { gate: held });
      upstream.on({ method: 'GET', path: /^\/v2\/team\/app\/blobs/ }, { throttle: chunks, ...fault });
      const first = cache.get(blobOf('team/app', blob.digest));
      chunks.allow(2);
      await expect.poll(() => upstream.sentBytes({ digest: blob.digest })).toBe(2 * MiB);
      let answered = 0;
      const begun = () => {
        answered++;
      };
      const others = [1, 2, 3, 4].map(() => cache.get(blobOf('other/app', blob.digest), { begun }));
      await expect.poll(() => count(upstream, 'HEAD', 'other/app')).toBe(1);
      // That was answered, and its connection is at rest.
      await expect.poll(() => cache.clock.next()).toBe(30_000);
      // Longer than `blobWithin`.
      await cache.clock.advance(90_000);
      expect(answered).toBe(0);
      chunks.open();
      /** Its own request is answered late, within `blobWithin`. */
      async function expectOwn() {
        await held.reached;
        await cache.clock.advance(50_000);
        held.open();
        for (const got of await Promise.all(others))
          expect([got.status, got.body.equals(blob.bytes)]).toEqual([200, true]);
      }
      return { ...pair, ...blob, first, others, expectOwn };
    }

    test('and is its own where that was right: its clients fetch nothing', async () => {
      const { upstream, cache, bytes, digest, first, others } = await startChunked();
      expect((await first).body.equals(bytes)).toBe(true);
      for (const got of await Promise.all(others)) expect([got.status, got.body.equals(bytes)]).toEqual([200, true]);
      expect(count(upstream, 'GET', 'other/app')).toBe(0);
      expect((await cache.get(blobOf('other/app', digest))).headers['cache-status']).toBe('proxycache; hit');
    });

    test('and is not where that was wrong: its own request has all of its time', async () => {
      const { upstream, expectOwn } = await startChunked({ told: 1234 });
      await expectOwn();
      expect(count(upstream, 'GET', 'other/app')).toBeGreaterThan(0);
    });

    test('and is nobody’s where it failed: one request of the other brings it for all of its clients', async () => {
      const { upstream, first, expectOwn } = await startChunked({ corruptAt: 5 });
      await expectOwn();
      expect(count(upstream, 'GET', 'other/app')).toBe(1);
      expect((await first).failure).toBeDefined();
    });
  });

  test('that is refused to the repository it was started for is not refused to those who proved theirs', async () => {
    const { upstream, cache, first, held, bytes, digest } = await underWay('other/app');
    const joined = [1, 2, 3].map(() => cache.get(blobOf('other/app', digest)));
    await expect.poll(() => count(upstream, 'HEAD', 'other/app')).toBe(1);
    await cache.clock.advance(50);
    // A second one, with the proof of the first.
    joined.push(cache.get(blobOf('other/app', digest)));
    await cache.clock.advance(50);
    upstream.on({ method: 'GET', path: /^\/v2\/team\/app\/blobs/ }, { status: 403 });
    held.open();
    expect((await first).status).toBe(403);
    for (const got of await Promise.all(joined)) expect([got.status, got.body.equals(bytes)]).toEqual([200, true]);
    expect(count(upstream, 'GET', 'other/app')).toBe(1);
    // And the refused one stays refused, although the bytes are here now.
    upstream.on({ path: /^\/v2\/team\/app\/blobs/ }, { status: 403 });
    expect((await cache.get(blobOf('team/app', digest))).status).toBe(403);
  });

  test('that broke off after long left one who had joined it no time for its own request', async () => {
    const { upstream, cache } = await startPair({ blobWithin: '10s', resumeWithin: '1s', timeouts: { idle: '20s' } });
    const { bytes, digest } = addBlob(upstream, 'team/app', 'other/app');
    const gone = { status: 404 };
    upstream.script({ method: 'GET', path: /^\/v2\/team\/app\/blobs/ }, [{ stallAfter: MiB }, gone, gone, gone]);
    const first = cache.get(blobOf('team/app', digest));
    await expect.poll(() => cache.clock.next()).toBe(20_000);
    const end = { headers: { range: `bytes=${2 * MiB}-` } };
    const second = cache.get(blobOf('other/app', digest), end);
    await expect.poll(() => count(upstream, 'HEAD', 'other/app')).toBe(1);
    await expect.poll(() => cache.clock.next()).toBe(20_000);
    await cache.clock.advance(20_000);
    const got = await stepClock(cache.clock, second);
    expect([got.status, got.body.equals(bytes.subarray(2 * MiB))]).toEqual([206, true]);
    expect((await first).failure).toBeDefined();
  });

  test('is started once by two repositories that ask at the same time', async () => {
    const { upstream, cache } = await startPair();
    const { bytes, digest } = addBlob(upstream, 'team/app', 'other/app');
    const both = await Promise.all(['team/app', 'other/app'].map((name) => cache.get(blobOf(name, digest))));
    expect(both.map(({ body }) => body.equals(bytes))).toEqual([true, true]);
    expect(upstream.count({ method: 'GET' })).toBe(1);
  });

  test('of another upstream is not joined; its bytes are shared once they were verified', async () => {
    const [one, two] = [await startUpstream(), await startUpstream()];
    const cache = await startCache({
      upstreams: [
        { key: 'up', url: one.url },
        { key: 'two', url: two.url },
      ],
    });
    const { bytes, digest } = addBlob(one, 'team/app');
    addBlob(two, 'team/app');
    const held = gate();
    one.on({ method: 'GET' }, { gate: held });
    const first = cache.get(blobOf('team/app', digest));
    await held.reached;
    const got = await cache.get(`/v2/two/team/app/blobs/${digest}`);
    expect(got.body.equals(bytes)).toBe(true);
    expect(two.count({ method: 'GET' })).toBe(1);
    held.open();
    expect((await first).body.equals(bytes)).toBe(true);
    await stored(cache, 2);

    const shared = Buffer.from(seededBytes('later', size));
    const later = one.putBlob('team/app', shared);
    two.putBlob('team/app', shared);
    one.heal();
    await cache.get(blobOf('team/app', later));
    await stored(cache, 3);
    two.clear();
    expect((await cache.get(`/v2/two/team/app/blobs/${later}`)).body.equals(shared)).toBe(true);
    expect(two.requests.map(({ method }) => method)).toEqual(['HEAD']);
  });
});

describe('38: what the host bears', () => {
  test('more transfers than maxIngests are 503 with Retry-After; joining one, and what is stored, are not', async () => {
    const { upstream, cache } = await startPair({ cache: { maxIngests: 2 } });
    const ready = upstream.putBlob('team/app', seededBytes('ready', 1000));
    await cache.get(blobOf('team/app', ready));
    await stored(cache);
    const held = gate();
    upstream.on({ method: 'GET', path: /\/blobs\// }, { gate: held });
    const digests = [1, 2, 3].map((seed) => upstream.putBlob('team/app', seededBytes(seed, 1000)));
    const running = digests.slice(0, 2).map((digest) => cache.get(blobOf('team/app', digest)));
    await held.reachedBy(2);
    const over = await cache.get(blobOf('team/app', digests[2]!));
    expect([over.status, over.errorCode, over.headers['retry-after']]).toEqual([503, 'UNAVAILABLE', '1']);
    expect((await cache.get(blobOf('team/app', ready))).status).toBe(200);
    const joined = cache.get(blobOf('team/app', digests[0]!));
    await cache.clock.advance(50);
    held.open();
    for (const got of await Promise.all([...running, joined])) expect(got.status).toBe(200);
    await stored(cache, 3);
    expect((await cache.get(blobOf('team/app', digests[2]!))).status).toBe(200);
  });

  test('closing lets transfers end, and refuses what comes later', async () => {
    const { upstream, cache } = await startPair();
    const { bytes, digest } = addBlob(upstream, 'team/app');
    const held = gate();
    upstream.on({ method: 'GET' }, { gate: held });
    const reading = cache.get(blobOf('team/app', digest));
    await held.reached;
    const closing = cache.cache.close();
    expect((await cache.get(blobOf('team/app', digest))).status).toBe(503);
    held.open();
    expect((await reading).body.equals(bytes)).toBe(true);
    await closing;
    expect(cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored' }]);
  });

  test('closing cuts off what takes longer than it is given', async () => {
    const { upstream, cache } = await startPair();
    const { digest } = addBlob(upstream, 'team/app');
    upstream.on({ method: 'GET' }, { stallAfter: 2 * MiB });
    let isBegun = false;
    const begun = () => {
      isBegun = true;
    };
    const reading = cache.get(blobOf('team/app', digest), { begun });
    // What was sent may still be on its way, and who has no answer yet gets one.
    await expect.poll(() => isBegun).toBe(true);
    const closing = cache.cache.close({ graceMs: 1_000 });
    await cache.clock.advance(1_000);
    await closing;
    const got = await reading;
    expect(got).toMatchObject({ status: 200, errorCode: undefined, failure: expect.any(Error) });
    expect(got.body.byteLength).toBeLessThan(size);
    expect(cache.seen('ingest-ended')).toMatchObject([{ outcome: 'failed' }]);
  });
});
