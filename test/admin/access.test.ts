import { ProxyCacheError } from '@proxycache/core';
import { afterAll, describe, expect, test } from 'vitest';
import { openAdmin, startAdmin } from './admin-under-test.ts';
import { tell } from './tell.ts';

/** For users of this machine. */
const { ask, askRaw, admin, url, stop } = await openAdmin();
afterAll(stop);

const sweep = { method: 'POST', body: { kind: 'sweep', dryRun: true } };

describe("authorize: 'loopback-only'", () => {
  test.each(['localhost', 'LOCALHOST:5001', '127.0.0.1', '127.8.9.1:80', '[::1]:5001'])(
    'lets in who asks from this machine for %s',
    async (host) => {
      expect((await ask('/upstreams', { headers: { host } })).status).toBe(200);
    },
  );

  test.each([
    'Forwarded',
    'X-Forwarded-For',
    'X-Forwarded-Host',
    'X-Forwarded-Proto',
    'X-Forwarded-Anything-At-All',
    'X-Real-IP',
    'X-Original-Forwarded-For',
    'True-Client-IP',
    'CF-Connecting-IP',
    'Fastly-Client-IP',
    'X-Cluster-Client-IP',
    'X-Azure-ClientIP',
    'X-Remote-Addr',
    'X-Envoy-External-Address',
    'CDN-Loop',
    'Via',
  ])('refuses what a proxy has passed on: %s', async (name) => {
    // Of this machine, as it says itself: it is not believed for that.
    const told = await ask('/upstreams', { headers: { [name]: '127.0.0.1' } });
    expect(told.json).toMatchObject({
      status: 403,
      code: 'denied',
      detail: expect.stringContaining(name.toLowerCase()),
    });
  });

  test.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil.example:127',
    '192.0.2.1',
    '[::2]',
    '127.0.0.1@evil.example',
  ])('refuses a name that somebody pointed here (DNS rebinding): %s', async (host) => {
    expect((await ask('/upstreams', { headers: { host } })).json).toMatchObject({ status: 403, code: 'denied' });
  });

  test.each(['192.0.2.1', '::ffff:192.0.2.1', '10.0.0.1', '128.0.0.1', undefined])(
    'refuses another machine, by its socket: %s',
    async (address) => {
      const connection = { ...(address !== undefined && { address }), headerNames: ['host'] };
      expect((await admin.handle(requestFrom(connection)))?.status).toBe(403);
    },
  );

  test.each(['127.0.0.1', '::1', '::ffff:127.0.0.1'])('knows this machine by %s', async (address) => {
    expect((await admin.handle(requestFrom({ address, headerNames: ['host'] })))?.status).toBe(200);
  });

  test('refuses where the adapter does not say who asks, as of web requests', async () => {
    expect((await admin.handle(requestFrom(undefined)))?.status).toBe(403);
  });

  test('tells nothing of what there is to those it refuses', async () => {
    const headers = { forwarded: 'for=192.0.2.1' };
    const bodies = await Promise.all(
      ['/admin/v1/upstreams', '/admin/v1/upstreams/%', '/admin/v1/nothing', '/admin/v2', '/admin'].map(
        async (path) => (await askRaw(path, { headers })).text,
      ),
    );
    expect(new Set(bodies).size).toBe(1);
    expect(bodies[0]).toContain('only for users of this machine');
    expect((await askRaw('/admin/v1/upstreams', { method: 'OPTIONS', headers })).headers.allow).toBeUndefined();
  });
});

describe('a function as authorize', () => {
  test('is asked about each request, and what it is about', async () => {
    const asked: unknown[] = [];
    const { ask } = await startAdmin({
      authorize: ({ request, ...question }) => {
        asked.push({ ...question, token: request.headers.get('authorization') });
        return question.operation === 'upstreams.get';
      },
    });
    const headers = { authorization: 'Bearer 314159' };
    expect((await ask('/upstreams/my%2Down?', { headers })).status).toBe(200);
    expect((await ask('/jobs', { ...sweep, headers })).json).toMatchObject({ status: 403, code: 'denied' });
    expect((await ask('/nothing', { headers })).status).toBe(403);
    const token = headers.authorization;
    expect(asked).toEqual([
      { operation: 'upstreams.get', method: 'GET', path: '/upstreams/my%2Down', write: false, token },
      { operation: 'jobs.start', method: 'POST', path: '/jobs', write: true, token },
      { operation: undefined, method: 'GET', path: '/nothing', write: false, token },
    ]);
  });

  test('is asked by who comes through a proxy, too', async () => {
    const { ask } = await startAdmin({ authorize: async () => true });
    const headers = { 'x-forwarded-for': '192.0.2.1', host: 'ops.example' };
    expect((await ask('/upstreams', { headers })).status).toBe(200);
  });

  test.each([undefined, 'yes', 1, {}])('lets nobody in by %s, which is not true', async (verdict) => {
    const { ask } = await startAdmin({ authorize: () => verdict as boolean });
    expect((await ask('/upstreams')).status).toBe(403);
  });

  test('may ask for a token', async () => {
    const { ask } = await startAdmin({
      authorize() {
        throw new ProxyCacheError('unauthenticated', 'bring a token');
      },
    });
    const told = await ask('/upstreams');
    expect(told.json).toMatchObject({ status: 401, detail: 'bring a token' });
    expect(told.headers['www-authenticate']).toMatch(/^Bearer /);
  });

  test('that fails lets nobody in, and what it failed with is told to the host alone', async () => {
    const errors: unknown[] = [];
    const failure = new Error('password 271828');
    const { ask } = await startAdmin({
      authorize: () => Promise.reject(failure),
      onError: (error) => errors.push(error),
    });
    const told = await ask('/upstreams');
    expect([told.status, told.headers['retry-after']]).toEqual([503, '5']);
    expect(told.text).not.toContain('271828');
    expect(errors).toEqual([failure]);
  });

  test('that does not come back lets nobody in', async () => {
    const { ask } = await startAdmin({ authorize: () => new Promise(() => undefined), within: 20 });
    expect((await ask('/upstreams')).json).toMatchObject({ status: 503, code: 'access-failed' });
  });
});

describe('a write', () => {
  test.each([
    ['of another site', { 'sec-fetch-site': 'cross-site' }],
    ['of a sibling site', { 'sec-fetch-site': 'same-site' }],
    ['with an Origin of another site', { origin: 'https://evil.example' }],
    ['with the Origin of another port', { host: 'localhost:5001', origin: 'http://localhost:5002' }],
    ['with an Origin that is null', { origin: 'null' }],
    ['with an Origin that is none', { origin: 'localhost' }],
    ['with an Origin of another scheme', { host: 'localhost', origin: 'file://localhost' }],
  ])('%s is refused', async (_, headers) => {
    expect((await ask('/jobs', { ...sweep, headers })).json).toMatchObject({ status: 403, code: 'denied' });
    expect((await ask('/jobs/1', { method: 'DELETE', headers })).status).toBe(403);
    expect((await ask('/jobs')).json.jobs).toEqual([]);
  });

  test.each([
    { host: 'localhost:5001', origin: 'http://localhost:5001', 'sec-fetch-site': 'same-origin' },
    { host: 'localhost', origin: 'http://LOCALHOST:80' },
    { host: 'localhost', origin: 'https://localhost' },
    { 'sec-fetch-site': 'none' },
  ])('of its own pages is carried out: %j', async (headers) => {
    const { ask } = await startAdmin();
    expect((await ask('/jobs', { ...sweep, headers })).status).toBe(202);
  });

  test('is for the pages of publicUrl alone, where that is given', async () => {
    const { ask } = await startAdmin({ authorize: () => true, publicUrl: 'https://ops.example' });
    const from = (origin: string) => ask('/jobs', { ...sweep, headers: { host: 'inside:5001', origin } });
    expect((await from('https://ops.example')).status).toBe(202);
    expect((await from('http://inside:5001')).status).toBe(403);
  });

  test.each([
    undefined,
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/jsonp',
    'text/plain; application/json',
  ])('with Content-Type %s is refused, with a body and without', async (type) => {
    const headers = { 'content-type': type };
    expect((await ask('/jobs', { ...sweep, headers })).json).toMatchObject({ status: 415, code: 'unsupported' });
    expect((await ask('/jobs/1', { method: 'DELETE', headers })).status).toBe(415);
    expect((await ask('/jobs')).json.jobs).toEqual([]);
  });

  test('may say the encoding of its JSON', async () => {
    const { ask } = await startAdmin();
    const headers = { 'content-type': 'Application/JSON; charset=utf-8' };
    expect((await ask('/jobs', { ...sweep, headers })).status).toBe(202);
  });

  test('gets no leave from CORS, whatever a browser asks before', async () => {
    const headers = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
    const told = await ask('/jobs', { method: 'OPTIONS', headers });
    expect(told.headers.allow).toBe('GET, HEAD, POST, OPTIONS');
    expect(Object.keys(told.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});

test('no answer may be kept, guessed at, or loaded into a page of somebody else', async () => {
  for (const path of ['/admin/v1/upstreams', '/admin/v1/nothing']) {
    expect((await tell(url, path)).headers).toMatchObject({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
    });
  }
});

function requestFrom(connection: { address?: string; headerNames: string[] } | undefined) {
  return {
    method: 'GET',
    url: '/admin/v1/upstreams',
    basePath: '',
    headers: { get: (name: string) => (name === 'host' ? 'localhost' : null) },
    signal: new AbortController().signal,
    body: async () => new Uint8Array(),
    ...(connection && { connection }),
  };
}
