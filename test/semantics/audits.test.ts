import { ProxyCacheError } from '@proxycache/core';
import { chunkGate } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { startPair } from './cache-under-test.ts';
import { as, authenticate } from './callers.ts';

const base = '/v2/up/team/app';

/** A cache that everybody may pull from but `eve`. */
async function startAudited(options: Parameters<typeof startPair>[0] = {}) {
  const { upstream, cache } = await startPair({
    freshFor: '1h',
    ...options,
    cache: {
      catalog: true,
      access: {
        authenticate,
        authorize: ({ identity }) => identity?.name !== 'eve' || { allow: false, reason: 'not for eve' },
      },
      ...options.cache,
    },
  });
  const image = upstream.addImage('team/app', { tag: '1', layerSizes: [2 * 1024 * 1024, 1024] });
  return { upstream, cache, image };
}

const where = { upstream: 'up', repository: 'team/app' };

describe('an audit', () => {
  test('tells of each request who asked, for what, and how it was answered, once', async () => {
    const { cache, image } = await startAudited();
    const [layer] = image.layers;
    const whole = { decision: 'allow', status: 200, complete: true, identity: 'ann', durationMs: 0 };
    const fetched = { hit: false, fwd: 'miss', fwdStatus: 200, stored: true };
    const expected: [method: string, path: string, audit: object][] = [
      ['GET', '/v2/', { kind: 'ping', bytes: 2 }],
      [
        'GET',
        `${base}/manifests/1`,
        { kind: 'manifest', reference: '1', ...where, bytes: image.root.size, cacheStatus: fetched },
      ],
      [
        'GET',
        `${base}/manifests/1`,
        { kind: 'manifest', reference: '1', ...where, bytes: image.root.size, cacheStatus: { hit: true } },
      ],
      [
        'HEAD',
        `${base}/manifests/1`,
        { kind: 'manifest', reference: '1', ...where, bytes: 0, cacheStatus: { hit: true } },
      ],
      [
        'GET',
        `${base}/blobs/${layer!.digest}`,
        { kind: 'blob', reference: layer!.digest, ...where, bytes: layer!.size },
      ],
      ['GET', `${base}/tags/list`, { kind: 'tags', ...where }],
      ['GET', `${base}/referrers/${image.root.digest}`, { kind: 'referrers', reference: image.root.digest, ...where }],
      ['GET', '/v2/_catalog', { kind: 'catalog' }],
    ];
    for (const [method, path] of expected) await cache.get(path, { method, ...as('ann') });
    await expect.poll(() => cache.seen('pull')).toHaveLength(expected.length);
    expect(cache.seen('pull')).toMatchObject(
      expected.map(([method, , audit]) => ({ type: 'pull', method, ...whole, ...audit })),
    );
  });

  test('tells of what was refused, and why', async () => {
    const { cache } = await startAudited();
    await cache.get(`${base}/manifests/1`, as('eve'));
    await cache.get(`${base}/manifests/1`, as('eve', 'guessed'));
    await cache.get(`${base}/blobs/uploads/`, { method: 'POST', ...as('ann') });
    await cache.get('/v2/nobody/app/manifests/1');
    await cache.get(`${base}/manifests/2`);
    const [eve, guessed, push, nobody, absent] = cache.seen('pull');
    expect(eve).toMatchObject({
      decision: 'deny',
      reason: 'not for eve',
      identity: 'eve',
      status: 403,
      ...where,
      reference: '1',
    });
    expect(guessed).toMatchObject({ decision: 'unauthenticated', reason: 'wrong user or password', status: 401 });
    expect(guessed).not.toHaveProperty('identity');
    expect(push).toMatchObject({ kind: 'upload', method: 'POST', decision: 'deny', status: 403, identity: 'ann' });
    expect(nobody).toMatchObject({ decision: 'deny', status: 404, reason: expect.stringContaining('nobody/app') });
    expect(absent).toMatchObject({ decision: 'allow', status: 404, ...where, reference: '2' });
    expect(absent).not.toHaveProperty('reason');
    expect(absent).not.toHaveProperty('identity');
  });

  test('tells of a body that broke off how much of it went out', async () => {
    const { upstream, cache, image } = await startAudited();
    const { digest, size } = image.layers[0]!;
    const slow = chunkGate(256 * 1024);
    upstream.on({ method: 'GET', digest }, { throttle: slow });
    slow.allow(2);
    const client = new AbortController();
    const begun = new Promise<void>((resolve) => {
      void cache
        .get(`${base}/blobs/${digest}`, { ...as('ann'), signal: client.signal, begun: resolve })
        .catch(() => undefined);
    });
    await begun;
    client.abort();
    await expect.poll(() => cache.seen('pull')).toMatchObject([{ kind: 'blob', status: 200, complete: false }]);
    expect(cache.seen('pull')[0]!.bytes).toBeLessThan(size);
    slow.open();
  });

  test('may be all that access is: nobody is asked, and what is in memory is told of, too', async () => {
    const { cache, image } = await startAudited({ cache: { access: { audit: true } } });
    for (let times = 0; times < 3; times++) await cache.get(`${base}/manifests/1`);
    expect(cache.seen('pull')).toMatchObject(
      [false, true, true].map((hit) => ({
        decision: 'allow',
        status: 200,
        ...where,
        reference: '1',
        bytes: image.root.size,
        complete: true,
        cacheStatus: { hit },
      })),
    );
    expect(cache.cache.handle.fromMemory).toBeDefined();
  });

  test('may be left out', async () => {
    const { cache } = await startAudited({ cache: { access: { authenticate, audit: false } } });
    expect((await cache.get(`${base}/manifests/1`, as('ann'))).status).toBe(200);
    expect((await cache.get(`${base}/manifests/1`, as('ann', 'guessed'))).status).toBe(401);
    expect(cache.seen('pull')).toEqual([]);
  });
});

test('no answer and no event has the credentials of a request, whatever hooks say of them', async () => {
  const password = 'hunter2-of-eve';
  const { headers } = as('eve', password);
  const encoded = headers.authorization.slice('Basic '.length);
  const bearer = 'opaque.t0ken/of+eve==';
  const secrets = [password, encoded, bearer];
  const say = (request: { headers: { get(name: string): string | null } }) =>
    `${password} in ${request.headers.get('authorization')} of eve, ${encoded} ${bearer}`;
  const hooks = [
    {
      authenticate: (request: Parameters<typeof say>[0]) => {
        throw new Error(say(request));
      },
    },
    {
      authenticate: (request: Parameters<typeof say>[0]) => {
        throw new ProxyCacheError('unauthenticated', say(request));
      },
    },
    {
      authorize: ({ request }: { request: Parameters<typeof say>[0] }) => ({
        allow: false as const,
        reason: say(request),
      }),
    },
    { authorize: ({ request }: { request: Parameters<typeof say>[0] }) => Promise.reject(new Error(say(request))) },
  ];
  for (const access of hooks) {
    const { cache } = await startAudited({ cache: { access } });
    for (const authorization of [headers.authorization, `Bearer ${bearer}`, `bearer   ${bearer}`]) {
      const own = secrets.filter(
        (secret) => authorization.includes(secret) || (authorization.startsWith('Basic') && secret === password),
      );
      const got = await cache.get(`${base}/manifests/1`, { headers: { authorization } });
      expect(got.status).toBeGreaterThanOrEqual(401);
      const told = JSON.stringify([got.headers, got.body.toString(), cache.events]);
      for (const secret of own) expect(told).not.toContain(secret);
      cache.events.length = 0;
    }
  }
});
