import { describe, expect, test } from 'vitest';
import { startCache, startUpstream } from './cache-under-test.ts';
import { sendRaw, startTwo } from './two-upstreams.ts';

describe('pushes are refused in our own words', () => {
  test.each([
    ['POST', '/v2/up/app/blobs/uploads/'],
    ['POST', '/v2/up/app/blobs/uploads'],
    ['POST', '/v2/up/app/blobs/uploads/?mount=sha256:aa&from=x'],
    ['PATCH', '/v2/up/app/blobs/uploads/1'],
    ['PUT', '/v2/up/app/blobs/uploads/1?digest=sha256:aa'],
    ['PUT', '/v2/up/app/manifests/1'],
    ['DELETE', '/v2/up/app/manifests/1'],
    ['DELETE', '/v2/up/app/blobs/sha256:aa'],
    ['GET', '/v2/up/app/blobs/uploads/1'],
    ['POST', '/v2/nobody/app/blobs/uploads/?ns=quay.io'],
  ])('%s %s', async (method, path) => {
    const upstream = await startUpstream();
    const image = upstream.addImage('app', { tag: '1' });
    const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url }] });
    await cache.get('/v2/up/app/manifests/1');
    upstream.clear();
    const body = method === 'GET' ? {} : { body: '{"schemaVersion":2}' };
    const got = await cache.get(path, { method, ...body });
    expect([got.status, got.errorCode]).toEqual([403, 'DENIED']);
    expect(got.body.toString()).toContain('this registry is a proxy cache; push to the upstream registry');
    expect(upstream.requests).toEqual([]);
    expect((await cache.get('/v2/up/app/manifests/1')).headers['docker-content-digest']).toBe(image.root.digest);
  });
});

describe('endpoints', () => {
  test.each(['/v2/', '/v2', '/v2/?ns=docker.io', '/v2?x=y', '/v2/?ns=quay.io'])(
    '%s says that this is a registry',
    async (path) => {
      const { cache, hub, corp } = await startTwo();
      for (const got of [await cache.get(path), await cache.head(path)]) {
        expect(got.status).toBe(200);
        expect(got.headers['docker-distribution-api-version']).toBe('registry/2.0');
        expect(got.headers['content-type']).toBe('application/json');
        expect(got.headers['content-length']).toBe('2');
      }
      expect((await cache.get(path)).body.toString()).toBe('{}');
      expect([...hub.requests, ...corp.requests]).toEqual([]);
    },
  );

  test.each([
    ['/v2/corp/app/nothing/1', 404, 'UNSUPPORTED'],
    ['/v2/corp/app', 404, 'UNSUPPORTED'],
    ['/v2//', 404, 'UNSUPPORTED'],
    ['/v2/corp/app/manifests/', 404, 'MANIFEST_UNKNOWN'],
    ['/v2/corp/app/manifests/-x', 404, 'MANIFEST_UNKNOWN'],
    ['/v2/corp/app/manifests/sha256:abc', 400, 'DIGEST_INVALID'],
    ['/v2/corp/app/blobs/latest', 400, 'DIGEST_INVALID'],
    ['/v2/corp/app/referrers/latest', 400, 'DIGEST_INVALID'],
    ['/v2/corp/App/manifests/1', 400, 'NAME_INVALID'],
    ['/v2/corp/a%2fb/manifests/1', 400, 'NAME_INVALID'],
    ['/v2/corp/%2e%2e/manifests/1', 400, 'NAME_INVALID'],
    ['/v2/corp/app/manifests/%zz', 400, 'NAME_INVALID'],
    ['/v2/corp/app/tags/list?n=-1', 400, 'PAGINATION_NUMBER_INVALID'],
    ['/v2/corp/app/tags/list?n=1&n=2', 400, 'PAGINATION_NUMBER_INVALID'],
    ['/v2/_catalog', 404, 'UNSUPPORTED'],
  ])('GET %s is %i %s', async (path, status, code) => {
    const { cache, hub, corp } = await startTwo();
    const got = await cache.get(path);
    expect([got.status, got.errorCode]).toEqual([status, code]);
    const head = await cache.head(path);
    expect([head.status, head.body.length]).toEqual([status, 0]);
    expect(head.headers['content-length']).toBe(String(got.body.length));
    expect([...hub.requests, ...corp.requests]).toEqual([]);
  });

  test.each(['OPTIONS', 'TRACE', 'PROPFIND'])('%s is 405, and told what is allowed', async (method) => {
    const { cache } = await startTwo();
    const { status, text } = await sendRaw(cache, [
      `${method} /v2/corp/app/manifests/1 HTTP/1.1`,
      'Host: x',
      'Connection: close',
    ]);
    expect(status).toBe(405);
    expect(text.toLowerCase()).toContain('allow: get, head');
  });

  test.each([
    ['dot segments that a client did not resolve', '/v2/corp/../../v2/corp/app/manifests/1', 400],
    ['a slash too many', '/v2/corp//app/manifests/1', 400],
    ['what only starts like it', '/v2x/corp/app/manifests/1', 404],
    ['the absolute form', 'http://evil.example/v2/corp/app/manifests/1', 200],
    ['a fragment', '/v2/corp/app/manifests/1#x', 404],
    ['a NUL', '/v2/corp/app%00/manifests/1', 400],
  ])('%s', async (_what, path, expected) => {
    const { cache, hub } = await startTwo();
    const { status } = await sendRaw(cache, [`GET ${path} HTTP/1.1`, 'Host: x', 'Connection: close']);
    expect(status).toBe(expected);
    expect(hub.requests).toEqual([]);
  });
});

describe('HEAD says what GET says, without the body', () => {
  test.each(['manifest by tag', 'manifest by digest', 'blob', 'tags', 'referrers', 'catalog', 'absent tag'])(
    '%s',
    async (what) => {
      const upstream = await startUpstream();
      const image = upstream.addImage('app', { tag: '1' });
      upstream.addReferrer('app', { subject: image.root, artifactType: 'application/a' });
      const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url, freshFor: '1h' }], catalog: true });
      const path = {
        'manifest by tag': '/v2/up/app/manifests/1',
        'manifest by digest': `/v2/up/app/manifests/${image.root.digest}`,
        blob: `/v2/up/app/blobs/${image.config.digest}`,
        tags: '/v2/up/app/tags/list',
        referrers: `/v2/up/app/referrers/${image.root.digest}`,
        catalog: '/v2/_catalog',
        'absent tag': '/v2/up/app/manifests/9',
      }[what]!;
      await cache.get('/v2/up/app/manifests/1');
      await cache.get(path);
      const got = await cache.get(path);
      const head = await cache.head(path);
      // The connection is the client's own affair: this one closes it after a HEAD.
      const own = ['date', 'connection', 'keep-alive', 'cache-status'];
      const comparable = ({ headers }: typeof got) => Object.entries(headers).filter(([name]) => !own.includes(name));
      expect(head.status).toBe(got.status);
      expect(comparable(head)).toEqual(comparable(got));
      expect(head.headers['content-length']).toBe(String(got.body.length));
      expect(head.body.length).toBe(0);
      expect(got.headers['x-content-type-options']).toBe('nosniff');
    },
  );
});

describe('a client that has it already gets 304', () => {
  test.each(['manifest by tag', 'manifest by digest', 'blob'])('%s', async (what) => {
    const upstream = await startUpstream();
    const image = upstream.addImage('app', { tag: '1' });
    const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url }] });
    const path = {
      'manifest by tag': '/v2/up/app/manifests/1',
      'manifest by digest': `/v2/up/app/manifests/${image.root.digest}`,
      blob: `/v2/up/app/blobs/${image.config.digest}`,
    }[what]!;
    const got = await cache.get(path);
    const etag = got.headers['etag'] ?? '';
    for (const given of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      for (const method of ['GET', 'HEAD']) {
        const again = await cache.get(path, { method, headers: { 'if-none-match': given } });
        expect([again.status, again.body.length]).toEqual([304, 0]);
        expect(again.headers['etag']).toBe(etag);
        expect(again.headers['docker-content-digest']).toBe(got.headers['docker-content-digest']);
      }
    }
    const other = await cache.get(path, { headers: { 'if-none-match': '"sha256:other"' } });
    expect([other.status, other.body.equals(got.body)]).toEqual([200, true]);
  });

  test('a tag that changed is not', async () => {
    const upstream = await startUpstream();
    upstream.addImage('app', { tag: '1', seed: 'old' });
    const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url }] });
    const { headers } = await cache.get('/v2/up/app/manifests/1');
    upstream.addImage('app', { tag: '1', seed: 'new' });
    const got = await cache.get('/v2/up/app/manifests/1', { headers: { 'if-none-match': headers['etag'] ?? '' } });
    expect(got.status).toBe(200);
    upstream.removeTag('app', '1');
    const gone = await cache.get('/v2/up/app/manifests/1', { headers: { 'if-none-match': '*' } });
    expect(gone.status).toBe(404);
  });
});
