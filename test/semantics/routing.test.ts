import { describe, expect, test } from 'vitest';
import { startCache, startUpstream } from './cache-under-test.ts';
import { startTwo } from './two-upstreams.ts';

const hostIs = (host: string) => ({ headers: { host } });

describe('28: which upstream a request means', () => {
  test.each([
    ['ns', '/v2/library/alpine/manifests/3?ns=docker.io', 'hub'],
    ['ns, and library/ added', '/v2/alpine/manifests/3?ns=docker.io', 'hub'],
    ['ns in other letters and with the default port', '/v2/alpine/manifests/3?ns=Docker.IO:443', 'hub'],
    ['ns with an escaped port', '/v2/app/manifests/1?ns=registry.corp.example%3A5000', 'corp'],
    ['the key', '/v2/corp/app/manifests/1', 'corp'],
    ['the key, and library/ added', '/v2/docker-hub/alpine/manifests/3', 'hub'],
    ['the key and ns, as BuildKit sends them', '/v2/corp/app/manifests/1?ns=registry.corp.example', 'corp'],
    ['a leading component that is another key, with ns', '/v2/corp/app/manifests/1?ns=docker.io', 'nested'],
    ['nothing: the default', '/v2/library/alpine/manifests/3', 'hub'],
    ['nothing, and library/ added', '/v2/alpine/manifests/3', 'hub'],
  ] as const)('%s', async (_what, path, expected) => {
    const { cache, hubImage, nested, corpImage } = await startTwo();
    const image = { hub: hubImage, nested, corp: corpImage }[expected];
    const got = await cache.get(path);
    expect(got.status).toBe(200);
    expect(got.headers['docker-content-digest']).toBe(image.root.digest);
    expect(got.headers['location']).toBeUndefined();
    const ns = new URL(path, cache.url).searchParams.get('ns');
    expect(got.headers['oci-namespace']).toBe(ns ?? undefined);
  });

  test.each([
    ['a declared Host', '/v2/app/manifests/1', 'registry.corp.example', 200],
    ['a declared Host with a declared port', '/v2/app/manifests/1', 'registry.corp.example:5000', 200],
    ['a declared Host in other letters', '/v2/app/manifests/1', 'REGISTRY.corp.example', 200],
    [
      'a declared Host, and the same by ns',
      '/v2/app/manifests/1?ns=registry.corp.example',
      'registry.corp.example',
      200,
    ],
    ['a declared Host, and another by ns', '/v2/app/manifests/1?ns=docker.io', 'registry.corp.example', 404],
    ['a Host that nobody declares, with a key', '/v2/corp/app/manifests/1', 'mirror.example', 200],
    ['a declared Host leaves a key in the name', '/v2/corp/app/manifests/1', 'registry.corp.example', 404],
  ] as const)('%s', async (_what, path, host, status) => {
    const { cache, corpImage } = await startTwo();
    const got = await cache.get(path, hostIs(host));
    expect(got.status).toBe(status);
    if (status === 200) expect(got.headers['docker-content-digest']).toBe(corpImage.root.digest);
    else expect(got.errorCode).toBe('NAME_UNKNOWN');
  });

  test.each([
    ['unknown', '?ns=quay.io'],
    ['empty', '?ns='],
    ['repeated', '?ns=docker.io&ns=docker.io'],
    ['repeated under an encoded name', '?ns=docker.io&%6es=registry.corp.example'],
    ['badly encoded', '?ns=%zz'],
    ['a URL', '?ns=https://docker.io'],
    ['an address inside', '?ns=169.254.169.254'],
    ['a look-alike that lower case turns into the host', '?ns=doc%E2%84%AAer.io'],
    ['with a line break', '?ns=docker.io%0d%0aset-cookie:%20a=b'],
    ['with blanks', '?ns=%20docker.io'],
    ['with a user', '?ns=user@docker.io'],
    ['with a dot at its end', '?ns=docker.io.'],
  ])('an ns that is %s names nothing, never the default', async (_what, query) => {
    const { hub, corp, cache } = await startTwo();
    for (const path of ['/v2/alpine/manifests/3', '/v2/corp/app/manifests/1', '/v2/alpine/tags/list']) {
      const got = await cache.get(`${path}${query}`);
      expect([got.status, got.errorCode]).toEqual([404, 'NAME_UNKNOWN']);
      expect(got.headers['oci-namespace']).toBeUndefined();
    }
    expect([...hub.requests, ...corp.requests]).toEqual([]);
  });

  test('library/ is added to one-component names of the upstream that says so, and to no others', async () => {
    const { hub, corp, cache } = await startTwo();
    await cache.get('/v2/docker-hub/team/app/manifests/1');
    await cache.get('/v2/corp/app/manifests/1');
    await cache.get('/v2/docker-hub/library/alpine/manifests/3');
    expect([...hub.requests, ...corp.requests].map(({ path }) => path)).toEqual([
      '/v2/team/app/manifests/1',
      '/v2/library/alpine/manifests/3',
      '/v2/app/manifests/1',
    ]);
  });

  test('one image is one record, by whichever way it was asked for', async () => {
    const { hub, cache } = await startTwo();
    await cache.get('/v2/alpine/manifests/3?ns=docker.io');
    for (const path of ['/v2/library/alpine/manifests/3', '/v2/docker-hub/alpine/manifests/3']) {
      hub.clear();
      expect((await cache.get(path)).status).toBe(200);
      expect(hub.requests.map(({ method }) => method)).toEqual(['HEAD']);
    }
  });
});

describe('29: keys', () => {
  test('a key that was removed stays reserved: 404, and never the default', async () => {
    const { hub, cache } = await startTwo();
    hub.addImage('gone/app', { tag: '1' });
    const got = await cache.get('/v2/gone/app/manifests/1');
    expect([got.status, got.errorCode]).toEqual([404, 'NAME_UNKNOWN']);
    expect(hub.requests).toEqual([]);
  });

  test('a key that hides an account of Docker Hub is told at the start', async () => {
    const { cache } = await startTwo();
    expect(cache.seen('warning').map(({ message }) => message)).toEqual([
      expect.stringContaining('"corp" hides the Docker Hub account'),
      expect.stringContaining('"gone" hides the Docker Hub account'),
    ]);
  });

  test('without a default upstream a name without a key is unknown', async () => {
    const upstream = await startUpstream();
    const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url }] });
    for (const name of ['alpine', 'library/alpine', 'up']) {
      const got = await cache.get(`/v2/${name}/manifests/1`);
      expect([got.status, got.errorCode]).toEqual([404, 'NAME_UNKNOWN']);
      expect(got.body.toString()).toContain('expected <key>/<name>');
    }
    expect(upstream.requests).toEqual([]);
  });
});

describe('26: the Host header is never echoed, links carry the mount prefix', () => {
  test('mounted below a path, links lead there and nothing of the Host header comes back', async () => {
    const { hub, cache } = await startTwo({ basePath: '/pfx' });
    hub.addImage('library/alpine', { tag: '4' });
    const evil = {
      headers: { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' },
    };
    const page = await cache.get('/pfx/v2/docker-hub/alpine/tags/list?n=1', evil);
    expect(page.headers['link']).toMatch(/^<\/pfx\/v2\/docker-hub\/alpine\/tags\/list\?n=1&cursor=[^>]+>; rel="next"$/);
    expect(JSON.stringify([page.headers, page.body.toString()])).not.toContain('evil.example');
    const next = /^<([^>]+)>/.exec(page.headers['link'] ?? '')?.[1] ?? '';
    expect(JSON.parse((await cache.get(next)).body.toString())).toEqual({ name: 'docker-hub/alpine', tags: ['4'] });
    expect((await cache.get('/v2/docker-hub/alpine/tags/list')).status).toBe(404);
    for (const path of ['/pfx/v2/', '/pfx/v2', '/pfx/v2/quay/x/manifests/1', '/pfx/v2/nothing']) {
      const got = await cache.get(path, evil);
      expect(JSON.stringify([got.headers, got.body.toString()])).not.toContain('evil.example');
    }
  });

  test('with publicUrl links lead there', async () => {
    const upstream = await startUpstream();
    for (const tag of ['1', '2']) upstream.addImage('app', { tag });
    const cache = await startCache({
      upstreams: [{ key: 'up', url: upstream.url }],
      publicUrl: 'https://mirror.example/',
    });
    const page = await cache.get('/v2/up/app/tags/list?n=1', hostIs('evil.example'));
    expect(page.headers['link']).toMatch(/^<https:\/\/mirror\.example\/v2\/up\/app\/tags\/list\?n=1&cursor=/);
  });
});
