import type { Personality } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { digestOfBody, startPair } from './cache-under-test.ts';

const path = '/v2/up/team/app/manifests/1';
const gets = { method: 'GET', path: /\/manifests\// };
const heads = { method: 'HEAD', path: /\/manifests\// };

/** A registry that tells its quota as Docker Hub does, and a cache that has tag 1 of an image. */
async function startHub(
  options: { freshFor?: '1h'; staleIfErrorFor?: '1h'; reserve?: number; also?: Personality } = {},
) {
  const { also = {}, reserve, ...rules } = options;
  let remaining = 100;
  const tellsQuota: Personality = {
    alter: (answer, { path }) => ({
      ...answer,
      ...(/\/manifests\//.test(path) && {
        headers: {
          ...answer.headers,
          'ratelimit-limit': '100;w=21600',
          'ratelimit-remaining': `${remaining};w=21600`,
        },
      }),
    }),
  };
  const { upstream, cache } = await startPair({
    fake: { personality: [also, tellsQuota] },
    ...(reserve !== undefined && { rateLimit: { reserve } }),
    ...rules,
  });
  const old = upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  return {
    upstream,
    cache,
    old,
    leave(pulls: number) {
      remaining = pulls;
    },
    /** Moves the tag, and forgets what was asked so far. */
    move() {
      const moved = upstream.addImage('team/app', { tag: '1', seed: 'moved' });
      upstream.clear();
      return moved;
    },
  };
}

describe('7: with less left of the rate limit than the reserve', () => {
  test('an unchanged tag is validated by HEAD, which is free of charge', async () => {
    const { upstream, cache, leave } = await startHub();
    leave(9);
    upstream.clear();
    const got = await cache.get(path);
    expect([got.status, got.headers['warning']]).toEqual([200, undefined]);
    expect([upstream.count(heads), upstream.count(gets)]).toEqual([1, 0]);
    const [status] = cache.cache.upstreams.status();
    expect(status?.rateLimit).toEqual({ limit: 100, remaining: 9, windowMs: 21_600_000 });
  });

  test.each<[string, { said?: Record<string, string>; chunked?: true }]>([
    ['a length of 0', { said: { 'content-length': '0' } }],
    ['no length', { chunked: true }],
    ['no type', { said: { 'content-type': 'application/octet-stream' } }],
  ])(
    'an unchanged tag whose HEAD told its digest and %s cost a GET, or was called stale',
    async (_what, { said, ...how }) => {
      const also: Personality = {
        alter: (answer, { method }) =>
          method === 'HEAD' ? { ...answer, ...how, headers: { ...answer.headers, ...said } } : answer,
      };
      const { upstream, cache, old, leave, move } = await startHub({ also });
      leave(9);
      upstream.clear();
      for (const method of ['GET', 'HEAD', 'GET']) {
        const got = await cache.get(path, { method });
        expect([got.status, got.headers['warning']]).toEqual([200, undefined]);
        expect(got.headers['content-length']).toBe(String(old.root.size));
      }
      expect([upstream.count(heads), upstream.count(gets)]).toEqual([3, 0]);
      leave(100);
      await cache.get(path);
      const moved = move();
      expect(digestOfBody((await cache.get(path)).body)).toBe(moved.root.digest);
    },
  );

  test('a changed tag is answered stale, and said so; once there is more left again, it is fetched', async () => {
    const { upstream, cache, old, leave, move } = await startHub();
    leave(9);
    const moved = move();
    const spared = await cache.get(path);
    expect(digestOfBody(spared.body)).toBe(old.root.digest);
    expect(spared.headers['warning']).toMatch(/^299 - "stale: up limits the rate of requests, last validated 20/);
    expect(spared.headers['cache-status']).toContain('stale');
    expect([upstream.count(heads), upstream.count(gets)]).toEqual([1, 0]);
    expect((await cache.head(path)).headers['docker-content-digest']).toBe(old.root.digest);
    expect(cache.seen('rate-limit')).toMatchObject([{ upstream: 'up', low: true, limit: 100, remaining: 9 }]);

    leave(10);
    expect(digestOfBody((await cache.get(path)).body)).toBe(moved.root.digest);
    expect(cache.seen('rate-limit').map(({ low }) => low)).toEqual([true, false]);
  });

  test('a tag with nothing stored is fetched all the same', async () => {
    const { upstream, cache, leave } = await startHub();
    leave(1);
    await cache.get(path);
    const other = upstream.addImage('team/other', { tag: '1' });
    const got = await cache.get('/v2/up/team/other/manifests/1');
    expect([got.status, digestOfBody(got.body)]).toEqual([200, other.root.digest]);
  });

  test('a copy that is too old to be served stale is no reason to refuse the pull', async () => {
    const { cache, leave, move } = await startHub({ staleIfErrorFor: '1h' });
    leave(9);
    await cache.get(path);
    const moved = move();
    await cache.clock.advance(2 * 60 * 60_000);
    expect(digestOfBody((await cache.get(path)).body)).toBe(moved.root.digest);
  });

  test('an upstream that can only be validated by GET is validated no more', async () => {
    const also: Personality = {
      alter: (answer, { method, path }) =>
        method === 'HEAD' && /\/manifests\//.test(path) ? { status: 405, headers: {}, body: '' } : answer,
    };
    const { upstream, cache, old, leave } = await startHub({ also });
    leave(9);
    await cache.get(path);
    upstream.clear();
    const got = await cache.get(path);
    expect(digestOfBody(got.body)).toBe(old.root.digest);
    expect(got.headers['warning']).toMatch(/limits the rate/);
    expect(upstream.count(gets)).toBe(0);
  });

  test('its window ends it, as nobody else may', async () => {
    const { cache, leave, move } = await startHub();
    leave(0);
    await cache.get(path);
    const moved = move();
    expect((await cache.get(path)).headers['warning']).toBeDefined();
    leave(100);
    await cache.clock.advance(21_600_000);
    expect(digestOfBody((await cache.get(path)).body)).toBe(moved.root.digest);
  });

  test('a reserve of 0 fetches what changed to the last pull', async () => {
    const { cache, leave, move } = await startHub({ reserve: 0 });
    leave(0);
    const moved = move();
    expect(digestOfBody((await cache.get(path)).body)).toBe(moved.root.digest);
  });
});

describe('7: a 429 with Retry-After: 30', () => {
  const limited = { status: 429, headers: { 'retry-after': '30' } };

  test('reaches the client of an uncached tag as it is, and the upstream is left alone until then', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    upstream.on({}, limited);
    const got = await cache.get(path);
    expect([got.status, got.headers['retry-after'], got.errorCode]).toEqual([429, '30', 'TOOMANYREQUESTS']);
    upstream.clear();
    await cache.clock.advance(10_000);
    const again = await cache.get(path);
    expect([again.status, again.headers['retry-after']]).toEqual([429, '20']);
    expect(upstream.requests).toEqual([]);
    upstream.heal();
    await cache.clock.advance(20_000);
    expect((await cache.get(path)).status).toBe(200);
  });

  test('reaches the client of a cached tag as 200 with Warning', async () => {
    const { upstream, cache, old } = await startHub();
    upstream.on({}, limited);
    const got = await cache.get(path);
    expect([got.status, digestOfBody(got.body)]).toEqual([200, old.root.digest]);
    expect(got.headers['warning']).toMatch(/^299 - "stale: up limits the rate of requests/);
  });
});
