import { htmlPage } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startCache } from './cache-under-test.ts';
import { clientStyles, type PulledImage, pullImage } from './pull-image.ts';
import { type StartedKind, upstreamKinds } from './upstream-kinds.ts';

const manifestHeads = { method: 'HEAD', path: /\/manifests\// };
const manifestGets = { method: 'GET', path: /\/manifests\// };
const blobs = { path: /\/blobs\// };
const everything = {};
const forbiddenByGateway = {
  status: 403,
  body: '{"message":"Forbidden"}',
  headers: { 'content-type': 'application/json' },
};

async function startKind(start: () => Promise<StartedKind>) {
  const kind = await start();
  const { upstream, options, repository, path, query } = kind;
  const image = upstream.addImage(repository, { tag: '1', seed: 'old', platforms: ['linux/amd64', 'linux/arm64'] });
  const cache = await startCache({ upstreams: [options] });
  const at = { path, tag: '1', ...(query !== undefined && { query }) };
  return { ...kind, image, cache, at };
}

function expectImage(pulled: PulledImage, digest: string): void {
  expect({ status: pulled.status, digest: pulled.digest, pieces: pulled.content.size }).toEqual({
    status: 200,
    digest,
    // The index, one manifest, a config and two layers.
    pieces: 5,
  });
}

/** Every kind of request that might still give the image away. */
async function expectNoImage(
  cache: CacheUnderTest,
  { path, tag, query = '' }: { path: string; tag: string; query?: string },
  refusal: { status: number; code?: string },
): Promise<void> {
  const url = `${path}/manifests/${tag}${query}`;
  const [head, got] = [await cache.head(url), await cache.get(url)];
  expect([head.status, got.status]).toEqual([refusal.status, refusal.status]);
  if (refusal.code !== undefined) expect(got.errorCode).toBe(refusal.code);
  expect(got.headers['content-type']).toBe('application/json');
  expect(Object.keys(JSON.parse(got.body.toString()))).toEqual(['errors']);
  expect(got.headers['docker-content-digest']).toBeUndefined();
  expect(head.headers['docker-content-digest']).toBeUndefined();
}

describe.each(upstreamKinds)('$name', ({ start, removed, extraGets }) => {
  test.each(clientStyles)('unchanged: a pull costs one HEAD, and nothing of the image moves (%s)', async (style) => {
    const { upstream, image, cache, at } = await startKind(start);
    expectImage(await pullImage(cache, at, style), image.root.digest);
    upstream.clear();
    const again = await pullImage(cache, at, style);
    expectImage(again, image.root.digest);
    expect(again.first.headers['warning']).toBeUndefined();
    expect({
      heads: upstream.count(manifestHeads),
      gets: upstream.count(manifestGets),
      blobs: upstream.count(blobs),
    }).toEqual({ heads: 1, gets: extraGets, blobs: 0 });
  });

  test.each(clientStyles)('changed: the new image, at once (%s)', async (style) => {
    const { upstream, image, cache, at, repository } = await startKind(start);
    expectImage(await pullImage(cache, at, style), image.root.digest);
    const changed = upstream.addImage(repository, { tag: '1', seed: 'new', platforms: ['linux/amd64'] });
    expectImage(await pullImage(cache, at, style), changed.root.digest);
    upstream.clear();
    expectImage(await pullImage(cache, at, style), changed.root.digest);
    expect(upstream.count(blobs)).toBe(0);
  });

  test.each(clientStyles)('stopped: the stored image, also after a restart of the cache (%s)', async (style) => {
    const { upstream, tokenHost, image, cache, at } = await startKind(start);
    expectImage(await pullImage(cache, at, style), image.root.digest);
    await upstream.stop();
    await tokenHost?.stop();
    const stale = await pullImage(cache, at, style);
    expectImage(stale, image.root.digest);
    expect(stale.first.headers['warning']).toMatch(/^299 - "stale: /);
    await cache.restart();
    expectImage(await pullImage(cache, at, style), image.root.digest);
  });

  test('stopped and started again: what it says counts again', async () => {
    const { upstream, tokenHost, image, cache, at, repository } = await startKind(start);
    await pullImage(cache, at);
    await upstream.stop();
    await tokenHost?.stop();
    expectImage(await pullImage(cache, at), image.root.digest);
    await upstream.start();
    await tokenHost?.start();
    const changed = upstream.addImage(repository, { tag: '1', seed: 'new', platforms: ['linux/amd64'] });
    expectImage(await pullImage(cache, at), changed.root.digest);
  });

  test('removed with its repository: an error and no image, also after a restart and while it is stopped', async () => {
    const { upstream, tokenHost, cache, at, repository } = await startKind(start);
    await pullImage(cache, at);
    upstream.removeRepository(repository);
    await expectNoImage(cache, at, removed);
    await cache.restart();
    await expectNoImage(cache, at, removed);
    await upstream.stop();
    await tokenHost?.stop();
    await cache.clock.advance(10_000);
    await expectNoImage(cache, at, { status: 502, code: 'UNAVAILABLE' });
  });

  test('removed as a tag: an error and no image; back again with the tag', async () => {
    const { upstream, image, cache, at, repository } = await startKind(start);
    await pullImage(cache, at);
    upstream.removeTag(repository, '1');
    await expectNoImage(cache, at, { status: 404, code: 'MANIFEST_UNKNOWN' });
    upstream.tag(repository, '1', image.root.digest);
    upstream.clear();
    expectImage(await pullImage(cache, at), image.root.digest);
    expect(upstream.count(blobs)).toBe(0);
  });
});

// Who is asked before the registry itself: nobody, a token service elsewhere, a token service of its own.
const asked = upstreamKinds.filter(({ name }) => /plain|account|ghcr/.test(name));

describe.each(asked)('$name, with something else in its place', ({ start }) => {
  test.each([
    ['a firewall with 403', htmlPage(403, 'Request blocked'), everything],
    ['a captive portal with 200', htmlPage(200, 'Sign in to the network'), everything],
    ['a web server with 404', htmlPage(404, 'Not Found'), everything],
    ['a web page with 401', htmlPage(401, 'Sign in'), everything],
    // Token services have no format of errors in common: what is JSON there is taken for their own.
    ['a gateway with 403 and JSON of its own', forbiddenByGateway, { path: /^\/v2\// }],
    ['503', { status: 503 }, everything],
    ['429', { status: 429 }, everything],
  ] as const)('%s says nothing of the image: it is served stale', async (_what, fault, match) => {
    const { upstream, tokenHost, image, cache, at } = await startKind(start);
    await pullImage(cache, at);
    upstream.on(match, fault);
    tokenHost?.on(match, fault);
    const stale = await pullImage(cache, at);
    expectImage(stale, image.root.digest);
    expect(stale.first.headers['warning']).toMatch(/^299 - "stale: /);
    const nothing = await cache.get(`${at.path}/manifests/2${at.query ?? ''}`);
    expect([502, 503, 429]).toContain(nothing.status);
  });

  test('a token service that fails alone says nothing of the image either', async () => {
    const { upstream, tokenHost = upstream, image, cache, at } = await startKind(start);
    await pullImage(cache, at);
    upstream.revokeTokens();
    tokenHost.on({ path: '/token' }, { drop: 'rst' });
    expectImage(await pullImage(cache, at), image.root.digest);
  });
});

describe('ECR', () => {
  const { start } = upstreamKinds.find(({ name }) => name === 'ECR')!;

  test('a credential that has expired is replaced by a fresh one, and the pull succeeds', async () => {
    const { upstream, image, cache, at, repository, expireCredential } = await startKind(start);
    await pullImage(cache, at);
    expireCredential?.();
    upstream.clear();
    const pulled = await pullImage(cache, at);
    expectImage(pulled, image.root.digest);
    expect(pulled.first.headers['warning']).toBeUndefined();
    expect(upstream.requests.map(({ method, status }) => `${method} ${status}`)).toEqual(['HEAD 403', 'HEAD 200']);
    expireCredential?.();
    const changed = upstream.addImage(repository, { tag: '1', seed: 'new', platforms: ['linux/amd64'] });
    expectImage(await pullImage(cache, at, 'get-by-tag'), changed.root.digest);
  });

  test('a credential that has expired and cannot be replaced is denied, and asks the provider no more than once each time', async () => {
    let calls = 0;
    const { upstream, options, at, repository } = await startKind(start);
    upstream.addImage(repository, { tag: '1' });
    const provider = async () => {
      calls++;
      return { username: 'AWS', password: 'expired' };
    };
    const cache = await startCache({ upstreams: [{ ...options, auth: provider }] });
    expect(await cache.get(`${at.path}/manifests/1`)).toMatchObject({ status: 403, errorCode: 'DENIED' });
    expect(calls).toBe(2);
    await cache.clock.advance(5_000);
    await cache.get(`${at.path}/manifests/1`);
    expect(calls).toBe(3);
  });
});
