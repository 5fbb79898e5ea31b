import { fileStorage } from '@proxycache/core';
import { htmlPage, jsonAnswer, ociError } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { digestOfBody, startCache, startPair, startUpstream } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';
import { startTokenHost } from './upstream-kinds.ts';

const at = { path: '/v2/up/team/app', tag: '1' };
const byTag = '/v2/up/team/app/manifests/1';

describe('4: a token service', () => {
  async function startAccount() {
    const tokenHost = await startTokenHost();
    const auth = (password: string) => ({ bearer: { at: tokenHost, users: { ann: { password } }, public: [] } });
    const upstream = await startUpstream({ auth: auth('right') });
    const image = upstream.addImage('team/app', { tag: '1' });
    const cache = await startCache({
      upstreams: [
        { key: 'up', url: upstream.url, tokenHosts: [tokenHost.host], auth: { username: 'ann', password: 'right' } },
      ],
    });
    return { upstream, tokenHost, image, cache, auth };
  }

  test('that rejects the configured credential: the stored image, an event, 502 where nothing is stored', async () => {
    const { upstream, tokenHost, image, cache, auth } = await startAccount();
    await pullImage(cache, at);
    upstream.change({ auth: auth('another') });
    const stale = await pullImage(cache, at);
    expect(stale.digest).toBe(image.root.digest);
    expect(stale.first.headers['warning']).toMatch(/^299 - "stale: /);
    expect(cache.seen('credentials-rejected')).toMatchObject([{ upstream: 'up', host: tokenHost.host }]);
    const nothing = await cache.get('/v2/up/team/app/manifests/2');
    expect([nothing.status, nothing.errorCode]).toEqual([502, 'UNAVAILABLE']);
    expect(nothing.body.toString()).toContain('credential');
  });

  test('is not asked again and again with a rejected credential: accounts are locked for that', async () => {
    const { upstream, tokenHost, cache, auth } = await startAccount();
    upstream.change({ auth: auth('another') });
    for (let i = 0; i < 20; i++) await cache.get(`/v2/up/team/app/manifests/${i}`);
    expect(tokenHost.count({ path: '/token' })).toBe(1);
    await cache.clock.advance(5_000);
    await cache.get(byTag);
    await cache.get(byTag);
    expect(tokenHost.count({ path: '/token' })).toBe(2);
    upstream.change({ auth: auth('right') });
    await cache.clock.advance(300_000);
    expect((await cache.get(byTag)).status).toBe(200);
  });

  test('that says no to nobody in particular is denied', async () => {
    const upstream = await startUpstream({ personality: 'ghcr', auth: { bearer: { public: [] } } });
    upstream.addImage('team/app', { tag: '1' });
    const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url }] });
    const got = await cache.get(byTag);
    expect([got.status, got.errorCode, got.headers['www-authenticate']]).toEqual([403, 'DENIED', undefined]);
  });
});

describe('6: a registry that knows a tag before its digest', () => {
  test('is asked by the tag for a changed image', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1', seed: 'old' });
    await cache.get(byTag);
    const changed = upstream.addImage('team/app', { tag: '1', seed: 'new' });
    upstream.on({ path: /manifests\/sha256:/ }, { status: 404 });
    const got = await cache.get(byTag);
    expect([got.status, digestOfBody(got.body)]).toEqual([200, changed.root.digest]);
  });

  test('is asked by the tag that a client has just resolved, and what comes is verified', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1' });
    upstream.on({ path: /manifests\/sha256:/ }, { status: 404 });
    const head = await cache.head(byTag);
    const byDigest = `/v2/up/team/app/manifests/${head.headers['docker-content-digest']}`;
    const got = await cache.get(byDigest);
    expect([got.status, digestOfBody(got.body)]).toEqual([200, image.root.digest]);
    const another = upstream.addImage('team/app', { tag: '1', seed: 'moved' });
    const moved = await cache.head(byTag);
    expect(moved.headers['docker-content-digest']).toBe(another.root.digest);
    const unknown = await cache.get(`/v2/up/team/app/manifests/sha256:${'0'.repeat(64)}`);
    expect([unknown.status, unknown.errorCode]).toEqual([404, 'MANIFEST_UNKNOWN']);
  });
});

describe('15: types', () => {
  test('the upstream is asked for all that is served, in its own bytes, whatever the client accepts', async () => {
    const { upstream, cache } = await startPair({ fake: { personality: 'strict-accept' } });
    const docker = upstream.addImage('team/app', { tag: '1', docker: true, platforms: ['linux/amd64'] });
    for (const accept of ['application/vnd.oci.image.manifest.v1+json', 'text/plain', '*/*']) {
      const got = await cache.get(byTag, { headers: { accept, 'accept-encoding': 'gzip, zstd' } });
      expect(got.headers['content-type']).toBe(docker.root.mediaType);
      expect(got.headers['content-encoding']).toBeUndefined();
      expect(digestOfBody(got.body)).toBe(docker.root.digest);
    }
    for (const { headers } of upstream.requests) {
      expect(headers['accept-encoding']).toBe('identity');
      expect(
        headers.accept
          ?.split(/, */)
          .map((type) => type.replace(/;.*/, ''))
          .sort(),
      ).toEqual([
        'application/vnd.docker.distribution.manifest.list.v2+json',
        'application/vnd.docker.distribution.manifest.v2+json',
        'application/vnd.oci.image.index.v1+json',
        'application/vnd.oci.image.manifest.v1+json',
      ]);
    }
  });

  test.each(['GET', 'HEAD'])('an image of schema version 1 alone is told as such (%s)', async (method) => {
    const { upstream, cache } = await startPair();
    const body = { schemaVersion: 1, name: 'team/app', tag: '1', fsLayers: [], history: [], signatures: [] };
    const mediaType = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
    upstream.putManifest('team/app', body, { mediaType, tags: ['1'] });
    const got = await cache.get(byTag, { method });
    expect(got.status).toBe(415);
    if (method === 'GET') {
      expect(got.errorCode).toBe('MANIFEST_INVALID');
      expect(got.body.toString()).toContain('schema version 1');
    }
  });

  test.each([
    ['text/html', 502],
    ['application/octet-stream; charset=x', 502],
    ['application/vnd.oci.image.manifest.v1+json\r\nset-cookie: a=b', 502],
    ['application/vnd.oci.image.manifest.v1+json; <script>', 502],
  ])(
    '16: a manifest that calls itself %j where the registry says nothing is never served as that',
    async (mediaType) => {
      const { upstream, cache } = await startPair();
      const body = { schemaVersion: 2, mediaType, config: {}, layers: [] };
      upstream.putManifest('team/app', body, { mediaType: 'application/json', tags: ['1'] });
      for (const method of ['GET', 'HEAD']) {
        const got = await cache.get(byTag, { method });
        expect(got.status).toBeGreaterThanOrEqual(400);
        expect(got.status).not.toBe(500);
        expect(got.headers['content-type']).toBe('application/json');
        expect(got.headers['x-content-type-options']).toBe('nosniff');
      }
    },
  );

  test('16: a body that is an image and an index at once is refused', async () => {
    const { upstream, cache } = await startPair();
    const body = { schemaVersion: 2, config: {}, layers: [], manifests: [] };
    upstream.putManifest('team/app', body, { tags: ['1'] });
    expect((await cache.get(byTag)).status).toBe(502);
  });

  describe('16: what a HEAD says of a manifest that another repository then brings in', () => {
    const index = 'application/vnd.oci.image.index.v1+json';

    async function startTold(options: { says: string } & NonNullable<Parameters<typeof startPair>[0]>) {
      const { says, ...pairOptions } = options;
      const { upstream, cache } = await startPair(pairOptions);
      const { root } = upstream.addImage('team/app', { tag: '1', seed: 'same' });
      upstream.addImage('other/app', { tag: '1', seed: 'same' });
      const headers = { 'content-type': says, 'docker-content-digest': root.digest };
      const path = /^\/v2\/team\/app\/manifests\//;
      const { bytes } = upstream.manifest('team/app', '1')!;
      upstream.on({ method: 'HEAD', path }, { status: 200, headers: { ...headers, 'content-length': `${root.size}` } });
      upstream.on({ method: 'GET', path }, { status: 200, headers, body: bytes });
      /** How often `team/app` was asked, by HEAD and by GET. */
      const asked = () => [upstream.count({ method: 'HEAD', path }), upstream.count({ method: 'GET', path })];
      async function tellAndBring(reference: string) {
        const head = await cache.head(`/v2/up/team/app/manifests/${reference}`);
        expect([head.status, head.headers['content-type']]).toEqual([200, says]);
        expect((await cache.get('/v2/up/other/app/manifests/1')).status).toBe(200);
      }
      return { upstream, cache, root, path, asked, tellAndBring };
    }

    test.each(['tag', 'digest'])('by %s, and that its bytes are not, was served as their type', async (by) => {
      const { cache, root, tellAndBring } = await startTold({ says: index });
      const reference = by === 'tag' ? '1' : root.digest;
      await tellAndBring(reference);
      for (const one of [reference, root.digest]) {
        const got = await cache.get(`/v2/up/team/app/manifests/${one}`);
        expect([got.status, got.headers['content-type']]).toEqual([502, 'application/json']);
      }
    });

    test('and that its bytes are not, was served as their type once its proof had expired', async () => {
      const { upstream, cache, root, path, tellAndBring } = await startTold({
        ...{ says: index, linkValidFor: '1h', serveUnproven: true },
      });
      await tellAndBring('1');
      await cache.clock.advance(3_600_001);
      upstream.heal();
      upstream.on({ path }, { status: 503 });
      expect((await cache.get(`/v2/up/team/app/manifests/${root.digest}`)).status).toBe(503);
      expect((await cache.get(byTag)).status).toBe(503);
    });

    test('is asked about anew once its proof has expired, and is no type of what it does not fit', async () => {
      const { cache, tellAndBring } = await startTold({ says: index, linkValidFor: '1h' });
      await tellAndBring('1');
      await cache.clock.advance(3_600_001);
      expect((await cache.get(byTag)).status).toBe(502);
    });

    test.each(['tag', 'digest'])('by %s, where they fit: they are served, and nothing is downloaded', async (by) => {
      const { cache, root, asked, tellAndBring } = await startTold({
        ...{ says: 'application/vnd.oci.image.manifest.v1+json', freshFor: '1h' },
      });
      const reference = by === 'tag' ? '1' : root.digest;
      await tellAndBring(reference);
      for (const one of [reference, root.digest, root.digest]) {
        const got = await cache.get(`/v2/up/team/app/manifests/${one}`);
        expect([digestOfBody(got.body), got.headers['cache-status']]).toEqual([root.digest, 'proxycache; hit']);
      }
      expect(asked()).toEqual([1, 0]);
    });
  });
});

describe('what a registry is not', () => {
  test.each([
    [
      'a page that calls itself a manifest',
      { ...htmlPage(200, 'x'), headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' } },
    ],
    ['JSON that is none', jsonAnswer(200, { hello: 'world' })],
    ['an empty body', { status: 200, body: '' }],
    ['204', { status: 204, body: '' }],
    ['a 200 with an error in it', { ...ociError(404, 'MANIFEST_UNKNOWN', 'gone'), status: 200 }],
    ['a redirect to a page', { status: 302, body: '', headers: { location: '/login' } }],
  ] as const)('%s is no answer: the stored image is served, and nothing is kept of it', async (_what, fault) => {
    const { upstream, cache } = await startPair();
    upstream.serve('/login', () => htmlPage(200, 'Sign in'));
    const image = upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    upstream.on({ path: /\/manifests\// }, fault);
    for (const style of ['head-then-digest', 'get-by-tag'] as const) {
      const stale = await pullImage(cache, at, style);
      expect(stale.digest).toBe(image.root.digest);
      expect(stale.first.headers['warning']).toMatch(/^299 - "stale: /);
    }
    expect([502, 503]).toContain((await cache.get('/v2/up/team/app/manifests/2')).status);
    upstream.heal();
    const fresh = await pullImage(cache, at);
    expect([fresh.digest, fresh.first.headers['warning']]).toEqual([image.root.digest, undefined]);
  });
});

describe('an image whose bytes left the store behind the cache’s back', () => {
  async function startLost(options: Parameters<typeof startPair>[0] = {}) {
    const pair = await startPair({
      ...options,
      cache: { memory: { manifests: 0 } },
    });
    const image = pair.upstream.addImage('team/app', { tag: '1' });
    await pullImage(pair.cache, at);
    return { ...pair, image };
  }

  test('is fetched again', async () => {
    const { upstream, cache, image } = await startLost();
    const { blobs } = fileStorage(cache.directory);
    const { signal } = new AbortController();
    for (const { digest } of [image.root, ...image.blobs]) await blobs.delete(digest, { signal });
    const again = await pullImage(cache, at);
    expect([again.status, again.digest, again.content.size]).toEqual([200, image.root.digest, 4]);
    for (const { digest } of [image.root, ...image.blobs]) await blobs.delete(digest, { signal });
    await upstream.stop();
    expect((await pullImage(cache, at)).status).toBe(502);
  });

  test("and that its upstream has no longer is 404, though onAbsent says 'serve-stale'", async () => {
    const { upstream, cache, image } = await startLost({ onAbsent: 'serve-stale' });
    await fileStorage(cache.directory).blobs.delete(image.root.digest, { signal: new AbortController().signal });
    upstream.removeRepository('team/app');
    const got = await cache.get(byTag);
    expect([got.status, got.errorCode]).toEqual([404, 'NAME_UNKNOWN']);
    upstream.addImage('team/app', { tag: '1' });
    upstream.on({}, { status: 403 });
    const denied = await cache.get(byTag);
    expect(denied.status).toBe(403);
  });
});
