import type { IncomingMessage } from 'node:http';
import {
  type AccessOptions,
  type AccessQuestion,
  type AccessRequest,
  type Authorize,
  ProxyCacheError,
} from '@proxycache/core';
import { type FlakyStorage, flakyStore, gate } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { startCache, startPair, startUpstream } from './cache-under-test.ts';
import { as, authenticate } from './callers.ts';

const basic = 'Basic realm="proxycache"';
const messageOf = (body: Buffer) => JSON.parse(body.toString()).errors[0].message;

/** A cache with one image, whose store counts its calls. */
async function startGuarded(access: AccessOptions, options: Parameters<typeof startPair>[0] = {}) {
  let storage: FlakyStorage | undefined;
  const { upstream, cache } = await startPair({
    ...options,
    cache: { catalog: true, ...options.cache, access },
    mount: {
      ...options.mount,
      wrapStorage(inner) {
        storage = flakyStore(inner);
        return storage;
      },
    },
  });
  const image = upstream.addImage('team/app', { tag: '1' });
  const store = storage!;
  const calls = () =>
    (['open', 'put', 'adopt'] as const).reduce((sum, name) => sum + store.calls(`blobs.${name}`), 0) +
    (['get', 'getMany', 'set', 'list'] as const).reduce((sum, name) => sum + store.calls(`metadata.${name}`), 0);
  return { upstream, cache, image, store, touched: () => calls() + upstream.count({}) };
}

type Image = Awaited<ReturnType<typeof startGuarded>>['image'];

/** Every kind of question about the image, and the scope that its 401 asks for. */
function questions(image: Image): [method: string, path: string, scope: string | undefined, headers?: object][] {
  const scope = 'repository:up/team/app:pull';
  const base = '/v2/up/team/app';
  return [
    ['GET', '/v2/', undefined],
    ['HEAD', '/v2/', undefined],
    ['GET', `${base}/manifests/1`, scope],
    ['HEAD', `${base}/manifests/1`, scope],
    ['GET', `${base}/manifests/${image.root.digest}`, scope],
    ['GET', `${base}/blobs/${image.layers[0]!.digest}`, scope],
    ['HEAD', `${base}/blobs/${image.layers[0]!.digest}`, scope],
    ['GET', `${base}/blobs/${image.layers[0]!.digest}`, scope, { range: 'bytes=0-3' }],
    ['GET', `${base}/tags/list`, scope],
    ['GET', `${base}/referrers/${image.root.digest}`, scope],
    ['GET', '/v2/_catalog', 'registry:catalog:*'],
    ['PUT', `${base}/manifests/1`, scope],
    ['POST', `${base}/blobs/uploads/`, scope],
  ];
}

const challenge: AccessOptions['challenge'] = ({ scope, error }) =>
  ['Bearer realm="r"', ...(scope ? [`scope="${scope}"`] : []), ...(error ? [`error="${error}"`] : [])].join(',');

describe('who brings no credentials where they are needed', () => {
  test('gets 401 with a challenge for each kind of question, its scope but for /v2/, and nothing was read or fetched', async () => {
    const { cache, image, touched } = await startGuarded({ authenticate, anonymous: false, challenge });
    const before = touched();
    for (const [method, path, scope, headers = {}] of questions(image)) {
      const got = await cache.get(path, { method, headers: headers as Record<string, string> });
      expect([method, path, got.status]).toEqual([method, path, 401]);
      expect(got.headers['www-authenticate']).toBe(`Bearer realm="r"${scope ? `,scope="${scope}"` : ''}`);
      expect(got.headers['cache-control']).toBe('no-store, no-transform');
      if (method !== 'HEAD') expect(got.errorCode).toBe('UNAUTHORIZED');
    }
    expect(touched()).toBe(before);
  });

  test('is told of what is wrong with his credentials, and asked for others', async () => {
    const { cache, image, touched } = await startGuarded({ authenticate, challenge });
    const before = touched();
    for (const [method, path] of questions(image)) {
      const got = await cache.get(path, { method, ...as('ann', 'guessed') });
      expect([path, got.status]).toEqual([path, 401]);
      expect(got.headers['www-authenticate']).toContain('error="invalid_token"');
      if (method !== 'HEAD') expect(messageOf(got.body)).toBe('wrong user or password');
    }
    expect(touched()).toBe(before);
  });

  test('is asked for Basic where nothing else is said, and gets 403 where nothing would help', async () => {
    const { cache } = await startGuarded({ authenticate, anonymous: false });
    expect((await cache.get('/v2/')).headers['www-authenticate']).toBe(basic);
    const { cache: other } = await startGuarded({ authenticate, anonymous: false, challenge: () => [] });
    const got = await other.get('/v2/');
    expect([got.status, got.errorCode, got.headers['www-authenticate']]).toEqual([403, 'UNAUTHORIZED', undefined]);
  });

  test('is let on to authorize by default, and asked for credentials if that says no', async () => {
    const { cache, image } = await startGuarded({
      authenticate,
      authorize: ({ identity, action }) => identity !== undefined || action === 'list',
      challenge,
    });
    expect((await cache.get('/v2/')).status).toBe(200);
    expect((await cache.get('/v2/up/team/app/tags/list')).status).toBe(200);
    const got = await cache.get(`/v2/up/team/app/manifests/${image.root.digest}`);
    expect([got.status, got.headers['www-authenticate']]).toEqual([
      401,
      'Bearer realm="r",scope="repository:up/team/app:pull"',
    ]);
    expect((await cache.get('/v2/up/team/app/manifests/1', as('ann'))).status).toBe(200);
  });
});

test('22: a repository is one question by whatever name and way it is asked for, and 401 names it as the client does', async () => {
  const hub = await startUpstream();
  hub.addImage('library/alpine', { tag: '3' });
  const asked: Omit<AccessQuestion, 'request'>[] = [];
  const authorize: Authorize = ({ request: _, ...question }) => {
    asked.push(question);
    return false;
  };
  const cache = await startCache({
    upstreams: [{ key: 'docker-hub', url: hub.url, hosts: ['docker.io'], library: true }],
    defaultUpstream: 'docker-hub',
    access: { authenticate, authorize, challenge },
  });
  const ways: [name: string, query?: string, headers?: Record<string, string>][] = [
    ['alpine'],
    ['library/alpine'],
    ['docker-hub/alpine'],
    ['docker-hub/library/alpine'],
    ['alpine', '?ns=docker.io'],
    ['library/alpine', '?ns=docker.io'],
    ['docker-hub/library/alpine', '?ns=docker.io'],
    ['library/alpine', '', { host: 'docker.io' }],
  ];
  for (const [name, query = '', headers = {}] of ways) {
    const got = await cache.get(`/v2/${name}/manifests/3${query}`, { headers });
    expect([name, got.status]).toEqual([name, 401]);
    expect(got.headers['www-authenticate']).toBe(`Bearer realm="r",scope="repository:${name}:pull"`);
    await cache.get(`/v2/${name}/manifests/3${query}`, { headers: { ...headers, ...as('ann').headers } });
  }
  const question = { action: 'pull', upstream: 'docker-hub', repository: 'library/alpine', tagOrDigest: '3' };
  const [anonymous, ann] = [
    { identity: undefined, ...question },
    { identity: { name: 'ann' }, ...question },
  ];
  expect(asked).toEqual(ways.flatMap(() => [anonymous, ann]));
  expect(hub.count({})).toBe(0);
});

test('each hook is called at most once a request, with what is asked for, and the same request', async () => {
  const calls: unknown[] = [];
  const requests = new Set<AccessRequest>();
  const { cache, image } = await startGuarded({
    authenticate(request) {
      calls.push('authenticate');
      requests.add(request);
      return { name: 'ann' };
    },
    authorize({ action, tagOrDigest, request }) {
      calls.push([action, tagOrDigest]);
      requests.add(request);
      return true;
    },
  });
  const [layer, root] = [image.layers[0]!.digest, image.root.digest];
  const asked: Record<string, unknown[]> = {
    '/v2/': [],
    '/v2/up/team/app/manifests/1': [['pull', '1']],
    [`/v2/up/team/app/manifests/${root}`]: [['pull', root]],
    [`/v2/up/team/app/blobs/${layer}`]: [['pull', layer]],
    '/v2/up/team/app/tags/list': [['list', undefined]],
    [`/v2/up/team/app/referrers/${root}`]: [['list', root]],
    '/v2/_catalog': [['list', undefined]],
    '/v2/up/team/app/blobs/uploads/': [],
    '/v2/nobody/app/manifests/1': [],
  };
  for (const [path, expected] of Object.entries(asked)) {
    calls.length = 0;
    requests.clear();
    await cache.get(path);
    expect([path, ...calls]).toEqual([path, 'authenticate', ...expected]);
    expect(requests.size).toBe(1);
  }
});

describe('a hook that cannot say', () => {
  const failures: [what: string, hook: () => unknown][] = [
    [
      'throws',
      () => {
        throw new Error('the directory is down');
      },
    ],
    ['rejects', () => Promise.reject(new Error('the directory is down'))],
    ['rejects with a code of its own', () => Promise.reject(new ProxyCacheError('name-unknown', 'no such user'))],
    ['rejects with nothing', () => Promise.reject()],
    ['gives a text', () => 'yes'],
    ['gives null', () => null],
    ['gives a promise of a number', async () => 1],
    ['gives an identity with a name of two lines, or a verdict without reason', () => ({ name: 'a\nb', allow: false })],
    ['gives an identity with a wrong list', () => ({ name: 'ann', repositories: 'all', allow: 'yes' })],
  ];
  const refused = { status: 503, 'retry-after': '5', 'cache-status': 'proxycache; detail=access-failed' };

  test.each(['authenticate', 'authorize'] as const)('lets nobody in, and is told of: %s', async (hook) => {
    let failing: () => unknown = () => true;
    const hooks = { authenticate: () => ({ name: 'ann' }), authorize: () => true };
    const { cache, image, touched } = await startGuarded({ ...hooks, [hook]: () => failing() });
    const before = touched();
    for (const [what, hook] of failures) {
      failing = hook;
      const got = await cache.get(`/v2/up/team/app/blobs/${image.layers[0]!.digest}`);
      expect([what, { status: got.status, ...got.headers }]).toMatchObject([what, refused]);
      expect(got.errorCode).toBe('UNAVAILABLE');
      expect(got.body.toString()).not.toMatch(/directory|user/);
    }
    expect(touched()).toBe(before);
    expect(cache.seen('access-failed').map((event) => event.hook)).toEqual(failures.map(() => hook));
    expect(cache.seen('access-failed')[0]).toMatchObject({ error: 'the directory is down' });
    expect(cache.seen('pull').map(({ decision, status }) => [decision, status])).toEqual(
      failures.map(() => ['failed', 503]),
    );
  });

  test.each(['authenticate', 'authorize'] as const)(
    'in time lets nobody in, and is told that it is late: %s',
    async (hook) => {
      const hooks = { authenticate: () => ({ name: 'ann' }), authorize: () => true };
      const held = gate();
      let signal: AbortSignal | undefined;
      const never = (asked: AccessRequest | AccessQuestion) => {
        signal = ('request' in asked ? asked.request : asked).signal;
        void held.pass();
        return new Promise<never>(() => undefined);
      };
      const { cache, touched } = await startGuarded({ ...hooks, [hook]: never, within: '2s' });
      const before = touched();
      const asked = cache.get('/v2/up/team/app/manifests/1');
      await held.reached;
      await cache.clock.advance(1_999);
      expect([signal?.aborted, cache.seen('access-failed')]).toEqual([false, []]);
      await cache.clock.advance(1);
      expect((await asked).status).toBe(503);
      expect(signal?.aborted).toBe(true);
      expect(cache.seen('access-failed')).toEqual([{ type: 'access-failed', hook, error: 'not done within 2000 ms' }]);
      expect(touched()).toBe(before);
    },
  );

  test.each([
    [
      'throws',
      () => {
        throw new Error('no realm');
      },
    ],
    ['gives none', () => undefined],
    ['would end the header', () => 'Basic realm="a"\r\nset-cookie: a=b'],
    ['is a list with one that is none', () => ['Basic', '']],
  ])('what to ask for, but %s, makes no 401 of it', async (_, hook) => {
    const { cache } = await startGuarded({ authenticate, anonymous: false, challenge: hook as never });
    const got = await cache.get('/v2/');
    expect([got.status, got.headers['www-authenticate'], got.headers['set-cookie']]).toEqual([
      503,
      undefined,
      undefined,
    ]);
    expect(cache.seen('access-failed')).toMatchObject([{ hook: 'challenge' }]);
  });
});

test('a client that leaves while a hook runs ends it, and nothing more is asked or fetched', async () => {
  const held = gate();
  const ended = gate();
  let authorized = 0;
  const { cache, touched } = await startGuarded({
    async authenticate({ signal }) {
      signal.addEventListener('abort', () => void ended.pass());
      await held.pass();
      return { name: 'ann' };
    },
    authorize: () => ++authorized > 0,
  });
  const before = touched();
  const client = new AbortController();
  const asked = cache.get('/v2/up/team/app/manifests/1', { signal: client.signal }).catch((error: Error) => error);
  await held.reached;
  client.abort();
  await ended.reached;
  expect(await asked).toBeInstanceOf(Error);
  await expect.poll(() => cache.seen('request')).toMatchObject([{ error: 'aborted' }]);
  held.open();
  // Another request goes all the way after it.
  expect((await cache.get('/v2/')).status).toBe(200);
  expect([authorized, touched()]).toEqual([0, before]);
  expect(cache.seen('access-failed')).toEqual([]);
  expect(cache.seen('pull')[0]).toMatchObject({ decision: 'failed', kind: 'manifest' });
});

describe('an identity that is narrowed to repositories', () => {
  test('is asked for more where it lacks one, as the client names it, and is never more than authorize allows', async () => {
    const asked: string[] = [];
    const repositories = ['up/team/app'];
    const { upstream, cache } = await startGuarded({
      authenticate: () => ({ name: 'ann', repositories }),
      authorize: ({ repository }) => asked.push(repository) > 1,
      challenge,
    });
    upstream.addImage('team/other', { tag: '1' });
    const got = await cache.get('/v2/up/team/other/manifests/1');
    expect([got.status, got.errorCode]).toEqual([401, 'UNAUTHORIZED']);
    expect(got.headers['www-authenticate']).toBe(
      'Bearer realm="r",scope="repository:up/team/other:pull",error="insufficient_scope"',
    );
    expect(asked).toEqual([]);
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(403);
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    expect((await cache.get('/v2/')).status).toBe(200);
  });
});

describe('22: _catalog', () => {
  test('shows those repositories that may be listed, page by page, and those alone that an identity is narrowed to', async () => {
    const asked: string[] = [];
    const { upstream, cache } = await startGuarded({
      authenticate(request) {
        const identity = authenticate(request);
        return identity?.name === 'narrow' ? { ...identity, repositories: ['up/team/b', 'up/team/c'] } : identity;
      },
      authorize({ identity, action, repository }) {
        if (action === 'pull') return true;
        asked.push(repository);
        return identity?.name !== 'ann' || repository !== 'team/b';
      },
    });
    for (const name of ['a', 'b', 'c', 'd']) {
      upstream.addImage(`team/${name}`, { tag: '1' });
      await cache.get(`/v2/up/team/${name}/manifests/1`);
    }
    const page = async (path: string, user: string) => {
      const got = await cache.get(path, as(user));
      return {
        names: JSON.parse(got.body.toString()).repositories,
        next: /<(.+)>/.exec(got.headers['link'] ?? '')?.[1],
      };
    };
    expect(await page('/v2/_catalog', 'bob')).toEqual({
      names: ['up/team/a', 'up/team/b', 'up/team/c', 'up/team/d'],
      next: undefined,
    });
    const first = await page('/v2/_catalog?n=2', 'ann');
    expect(first.names).toEqual(['up/team/a', 'up/team/c']);
    asked.length = 0;
    expect(await page(first.next!, 'ann')).toEqual({ names: ['up/team/d'], next: undefined });
    expect(asked).toEqual(['team/d']);
    expect((await page('/v2/_catalog', 'narrow')).names).toEqual(['up/team/b', 'up/team/c']);
    expect(asked).toEqual(['team/d', 'team/b', 'team/c']);
  });
});

describe('with access', () => {
  test('an answer that is in memory is asked about, too', async () => {
    let allow = true;
    const { cache, touched } = await startGuarded({ authorize: () => allow }, { freshFor: '1h' });
    for (let times = 0; times < 3; times++) expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    const before = touched();
    allow = false;
    const got = await cache.get('/v2/up/team/app/manifests/1', { headers: { 'if-none-match': '*' } });
    expect([got.status, got.errorCode]).toEqual([403, 'DENIED']);
    expect((await cache.head('/v2/up/team/app/manifests/1')).status).toBe(403);
    expect(touched()).toBe(before);
  });

  test('the host’s own of a request reaches the hooks, by Node’s server and by fetch', async () => {
    const seen: unknown[] = [];
    const { cache } = await startGuarded(
      { authorize: ({ request }) => seen.push(request.context) > 0 },
      { mount: { context: () => 'from Node' } },
    );
    await cache.get('/v2/up/team/app/manifests/1');
    await cache.cache.fetch(new Request('http://cache.example/v2/up/team/app/manifests/1'), { context: 'from fetch' });
    await cache.cache.fetch(new Request('http://cache.example/v2/up/team/app/manifests/1'));
    expect(seen).toEqual(['from Node', 'from fetch', undefined]);
  });

  test('a page of the host’s own was a 500 where it knew nothing of who asked', async () => {
    const told: unknown[] = [];
    const context = ({ url }: IncomingMessage) => {
      throw new Error(`nobody is logged in at ${url}`);
    };
    const handle = async (request: AccessRequest) =>
      request.url === '/token' ? { status: 200, headers: {}, body: Buffer.from(String(request.context)) } : undefined;
    const { cache } = await startGuarded(
      { authenticate, handle },
      { mount: { context, onError: (error) => told.push(String(error)) } },
    );
    expect((await cache.get('/')).status).toBe(404);
    expect(told).toEqual([]);
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(500);
    expect(told).toEqual(['Error: nobody is logged in at /v2/up/team/app/manifests/1']);
    expect((await cache.get('/token')).status).toBe(503);
    expect(cache.seen('access-failed')).toMatchObject([{ hook: 'handle', error: 'nobody is logged in at /token' }]);
  });

  test('the connection reaches every hook, by Node’s server; a web request has none', async () => {
    const seen: [hook: string, address: string | undefined][] = [];
    const see = (hook: string, request: AccessRequest | undefined) => {
      if (request?.connection) expect(request.connection.headerNames).toContain('host');
      seen.push([hook, request?.connection?.address]);
    };
    const { cache } = await startGuarded(
      {
        authenticate: (request) => {
          see('authenticate', request);
          return authenticate(request);
        },
        authorize: ({ identity, request }) => {
          see('authorize', request);
          return identity !== undefined;
        },
        challenge: ({ request }) => {
          see('challenge', request);
          return basic;
        },
        handle: async (request) => {
          see('handle', request);
          return undefined;
        },
      },
      {
        cache: {
          admission: {
            admit: ({ request }) => {
              see('admit', request);
              return { allow: true };
            },
          },
        },
      },
    );
    const path = '/v2/up/team/app/manifests/1';
    expect((await cache.get(path)).status).toBe(401);
    expect((await cache.get(path, as('ann'))).status).toBe(200);
    await cache.get('/token');
    const hooks = ['authenticate', 'authorize', 'challenge', 'authenticate', 'authorize', 'admit', 'handle'];
    expect(seen).toEqual(hooks.map((hook) => [hook, '127.0.0.1']));
    seen.length = 0;
    expect((await cache.cache.fetch(new Request(`http://cache.example${path}`, as('ann')))).status).toBe(200);
    expect(seen).toEqual(['authenticate', 'authorize', 'admit'].map((hook) => [hook, undefined]));
  });

  test('several challenges are lines of their own, by Node’s server and by fetch', async () => {
    const values = ['Bearer realm="https://a.example/token",service="a"', 'Basic realm="a"'];
    const { cache } = await startGuarded({ authenticate, anonymous: false, challenge: () => values });
    expect((await cache.get('/v2/')).headers['www-authenticate']).toEqual(values);
    const got = await cache.cache.fetch(new Request('http://cache.example/v2/'));
    expect(got.headers.get('www-authenticate')).toBe(values.join(', '));
  });

  test('answers by digest are for nobody’s shared cache, and that they should be is refused at the start', async () => {
    const { cache, image } = await startGuarded({ authorize: () => true });
    for (const path of [`manifests/${image.root.digest}`, `blobs/${image.layers[0]!.digest}`]) {
      const got = await cache.get(`/v2/up/team/app/${path}`);
      expect(got.headers['cache-control']).toContain('private');
    }
    await expect(startGuarded({ authorize: () => true }, { cache: { publicContent: true } })).rejects.toThrow(
      'publicContent: expected false beside access.authenticate or access.authorize',
    );
  });
});
