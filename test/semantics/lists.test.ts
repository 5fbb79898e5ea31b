import { memoryStorage } from '@proxycache/core';
import { flakyStore, htmlPage, jsonAnswer, ociError } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startCache, startPair, startUpstream } from './cache-under-test.ts';
import type { Got } from './request.ts';

const path = '/v2/up/team/app/tags/list';
const asked = { path: /\/tags\/list$/ };

const json = (got: Got) => JSON.parse(got.body.toString());
const linkOf = (got: Got) => /^<([^>]+)>; rel="next"$/.exec(got.headers['link'] ?? '')?.[1];

/** Follows `Link` to the end, as clients do. */
async function allPages(cache: CacheUnderTest, first: string, key: 'tags' | 'repositories' = 'tags') {
  const pages: { entries: string[]; got: Got }[] = [];
  for (let next: string | undefined = first; next !== undefined; next = linkOf(pages.at(-1)!.got)) {
    const got = await cache.get(next);
    expect(got.status).toBe(200);
    pages.push({ entries: json(got)[key], got });
    if (pages.length > 50) throw new Error('pages without an end');
  }
  return pages;
}

async function startTagged(tags: readonly string[], options: Parameters<typeof startPair>[0] = {}) {
  const pair = await startPair(options);
  for (const tag of tags) pair.upstream.addImage('team/app', { tag });
  return pair;
}

describe('30: tags', () => {
  test('the pages of the upstream, as it cuts them, linked by cursors of ours', async () => {
    const { cache } = await startTagged(['a', 'b', 'c', 'd', 'e'], { fake: { pageLimit: 2 } });
    const pages = await allPages(cache, path);
    expect(pages.map(({ entries }) => entries)).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
    expect(json(pages[0]!.got)).toEqual({ name: 'up/team/app', tags: ['a', 'b'] });
    expect(linkOf(pages[0]!.got)).toMatch(/^\/v2\/up\/team\/app\/tags\/list\?cursor=/);
    expect(pages[0]!.got.headers['cache-control']).toBe('no-cache, no-transform');
  });

  test('n and last go to the upstream, and links keep n and ns', async () => {
    const { upstream, cache } = await startTagged(['a', 'b', 'c', 'd', 'e'], { hosts: ['reg.example'] });
    const pages = await allPages(cache, '/v2/team/app/tags/list?n=2&last=a&ns=reg.example');
    expect(pages.map(({ entries }) => entries)).toEqual([
      ['b', 'c'],
      ['d', 'e'],
    ]);
    expect(linkOf(pages[0]!.got)).toMatch(/\?ns=reg\.example&n=2&cursor=/);
    expect(pages.map(({ got }) => got.headers['oci-namespace'])).toEqual(['reg.example', 'reg.example']);
    expect(json(pages[1]!.got).name).toBe('team/app');
    expect(upstream.requests[0]!.query.toString()).toBe('n=2&last=a');
  });

  test.each([
    ['n=2', [['a', 'b'], ['m', 'y'], ['z']]],
    ['n=2&last=m', [['y', 'z']]],
    ['last=b', [['m', 'y', 'z']]],
    ['n=5', [['z', 'a', 'm', 'b', 'y']]],
    ['n=2&last=k', [['m', 'y'], ['z']]],
    ['n=2&last=z', [[]]],
  ])('an upstream that heeds neither n nor last is cut to pages in order: %s', async (query, expected) => {
    const { upstream, cache } = await startTagged(['a']);
    upstream.on(asked, jsonAnswer(200, { name: 'team/app', tags: ['z', 'a', 'm', 'b', 'y'] }));
    const pages = await allPages(cache, `${path}?${query}`);
    expect(pages.map(({ entries }) => entries)).toEqual(expected);
  });

  test('n=0 is an empty list without a link', async () => {
    const { upstream, cache } = await startTagged(['a']);
    const got = await cache.get(`${path}?n=0`);
    expect([got.status, json(got), got.headers['link']]).toEqual([200, { name: 'up/team/app', tags: [] }, undefined]);
    expect(upstream.requests).toEqual([]);
  });

  test('the order is the upstream’s own', async () => {
    const { upstream, cache } = await startTagged(['a']);
    upstream.on(asked, jsonAnswer(200, { name: 'team/app', tags: ['z', 'a', 'm'] }));
    expect(json(await cache.get(path)).tags).toEqual(['z', 'a', 'm']);
  });

  test.each([
    ['of another origin', '<https://evil.example/v2/team/app/tags/list?last=b>; rel="next"'],
    ['of another repository', '</v2/other/secret/tags/list?last=b>; rel="next"'],
  ])('a link %s never makes us ask there, and the list goes on', async (_what, link) => {
    const { upstream, cache } = await startTagged(['a', 'b', 'c']);
    upstream.on({ ...asked, times: 1 }, jsonAnswer(200, { tags: ['a', 'b'] }, { link }));
    const got = await cache.get(path);
    expect(JSON.stringify(got.headers)).not.toContain('evil.example');
    expect(json(await cache.get(linkOf(got)!)).tags).toEqual(['c']);
    expect(new Set(upstream.requests.map((request) => request.path))).toEqual(new Set(['/v2/team/app/tags/list']));
  });

  test.each(['x', 'u', 's.', 'u.../../../other?x', 'u.%0d%0a', 's.-bad', `u.${'x'.repeat(5000)}`])(
    'a cursor that a client made up (%s) asks for nothing but this list',
    async (cursor) => {
      const { upstream, cache } = await startTagged(['a']);
      const got = await cache.get(`${path}?cursor=${encodeURIComponent(cursor)}`);
      expect([200, 400]).toContain(got.status);
      if (got.status === 400) expect(got.errorCode).toBe('PAGINATION_NUMBER_INVALID');
      expect(upstream.requests.every((request) => request.path === '/v2/team/app/tags/list')).toBe(true);
    },
  );

  test('concurrent requests for one page share one request', async () => {
    const { upstream, cache } = await startTagged(['a']);
    await Promise.all(Array.from({ length: 10 }, () => cache.get(path)));
    expect(upstream.count(asked)).toBeLessThan(10);
  });

  test('while the upstream fails: the stored tags without absent and denied ones, said to be partial, also after a restart', async () => {
    const { upstream, cache } = await startTagged(['a', 'b', 'c', 'd', 'e']);
    for (const tag of ['c', 'a', 'd', 'e']) await cache.get(`/v2/up/team/app/manifests/${tag}`);
    upstream.removeTag('team/app', 'd');
    await cache.get('/v2/up/team/app/manifests/d');
    upstream.on({ path: /manifests\/e$/ }, { status: 403 });
    await cache.get('/v2/up/team/app/manifests/e');
    await upstream.stop();
    for (const restart of [false, true]) {
      if (restart) await cache.restart();
      const got = await cache.get(path);
      expect(json(got)).toEqual({ name: 'up/team/app', tags: ['a', 'c'] });
      expect(got.headers['warning']).toBe('299 - "partial list: upstream unavailable"');
    }
  });

  test("what onAbsent 'serve-stale' serves is listed, too", async () => {
    const { upstream, cache } = await startTagged(['a', 'b'], { onAbsent: 'serve-stale' });
    for (const tag of ['a', 'b']) await cache.get(`/v2/up/team/app/manifests/${tag}`);
    upstream.removeTag('team/app', 'b');
    await cache.get('/v2/up/team/app/manifests/b');
    await upstream.stop();
    expect(json(await cache.get(path)).tags).toEqual(['a', 'b']);
  });

  test('the stored tags come in pages, too', async () => {
    const { upstream, cache } = await startTagged(['a', 'b', 'c', 'd', 'e']);
    for (const tag of ['a', 'b', 'c', 'd', 'e']) await cache.get(`/v2/up/team/app/manifests/${tag}`);
    await upstream.stop();
    const pages = await allPages(cache, `${path}?n=2`);
    expect(pages.map(({ entries }) => entries)).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
    expect((await allPages(cache, `${path}?n=3&last=b`)).map(({ entries }) => entries)).toEqual([['c', 'd', 'e']]);
    await upstream.start();
    // Until then it is left alone.
    await cache.clock.advance(2_000);
    const second = await cache.get(linkOf(pages[0]!.got)!);
    expect([json(second).tags, second.headers['warning']]).toEqual([['c', 'd'], undefined]);
  });

  test('a page in the middle of the upstream’s own list cannot be gone on with', async () => {
    const { upstream, cache } = await startTagged(['a', 'b', 'c'], { fake: { pageLimit: 1 } });
    await cache.get('/v2/up/team/app/manifests/a');
    const first = await cache.get(path);
    await upstream.stop();
    expect((await cache.get(linkOf(first)!)).status).toBe(502);
  });

  test.each([
    ['no connection', undefined, 502],
    ['503', { status: 503 }, 503],
    ['429', { status: 429, headers: { 'retry-after': '7' } }, 429],
    ['a web page', htmlPage(200, 'Sign in'), 502],
  ] as const)('none known and %s: rule 11, never an empty list', async (_what, fault, status) => {
    const { upstream, cache } = await startTagged(['a']);
    if (fault) upstream.on({}, fault);
    else await upstream.stop();
    const got = await cache.get(path);
    expect(got.status).toBe(status);
    expect(json(got).tags).toBeUndefined();
    if (status === 429) expect(got.headers['retry-after']).toBe('7');
  });

  test('an upstream that never answers: 504 after manifestWithin, the stored tags where there are some', async () => {
    const { upstream, cache } = await startTagged(['a'], { manifestWithin: '3s' });
    upstream.on(asked, { hang: true });
    const waiting = cache.get(path);
    await expect.poll(() => upstream.count(asked)).toBe(1);
    await cache.clock.advance(3_000);
    expect((await waiting).status).toBe(504);
  });

  test('absent is 404, denied is 403, though tags are stored', async () => {
    const { upstream, cache } = await startTagged(['a']);
    await cache.get('/v2/up/team/app/manifests/a');
    upstream.on(asked, ociError(403, 'DENIED', 'not yours, see https://reg.example/?token=hidden'));
    const denied = await cache.get(path);
    expect([denied.status, denied.errorCode]).toEqual([403, 'DENIED']);
    expect(denied.body.toString()).not.toContain('hidden');
    upstream.heal();
    upstream.removeRepository('team/app');
    const gone = await cache.get(path);
    expect([gone.status, gone.errorCode]).toEqual([404, 'NAME_UNKNOWN']);
  });

  test.each(['metadata.list', 'metadata.get'] as const)(
    'a store whose %s fails costs no more than the stored list',
    async (operation) => {
      const storage = flakyStore(memoryStorage());
      const { upstream, cache } = await startTagged(['a'], { cache: { storage } });
      await cache.get('/v2/up/team/app/manifests/a');
      storage.on(operation, { fail: 'disk gone' });
      expect(json(await cache.get(path)).tags).toEqual(['a']);
      await upstream.stop();
      expect([200, 502]).toContain((await cache.get(path)).status);
    },
  );
});

describe('22: _catalog', () => {
  async function startStored(options: { catalog?: boolean }) {
    const [one, two] = [await startUpstream(), await startUpstream()];
    const cache = await startCache({
      upstreams: [
        { key: 'one', url: one.url },
        { key: 'two', url: two.url },
      ],
      ...options,
    });
    for (const name of ['b', 'a/c', 'a']) {
      one.addImage(name, { tag: '1' });
      await cache.get(`/v2/one/${name}/manifests/1`);
    }
    two.addImage('z', { tag: '1' });
    await cache.get('/v2/two/z/manifests/1');
    one.addImage('never-asked', { tag: '1' });
    await cache.get('/v2/one/absent/manifests/1');
    return { one, two, cache };
  }

  test('is off by default', async () => {
    const { cache } = await startStored({});
    const got = await cache.get('/v2/_catalog');
    expect([got.status, got.errorCode]).toEqual([404, 'UNSUPPORTED']);
  });

  test('lists what is stored, by names that can be pulled, also with the upstreams down and after a restart', async () => {
    const { one, two, cache } = await startStored({ catalog: true });
    await one.stop();
    await two.stop();
    await cache.restart();
    const got = await cache.get('/v2/_catalog');
    expect(json(got)).toEqual({ repositories: ['one/a', 'one/a/c', 'one/b', 'two/z'] });
    expect(got.headers['content-type']).toBe('application/json');
  });

  test('in pages', async () => {
    const { cache } = await startStored({ catalog: true });
    const pages = await allPages(cache, '/v2/_catalog?n=3', 'repositories');
    expect(pages.map(({ entries }) => entries)).toEqual([['one/a', 'one/a/c', 'one/b'], ['two/z']]);
    expect(json(await cache.get('/v2/_catalog?last=one/a')).repositories).toEqual(['one/a/c', 'one/b', 'two/z']);
    expect(json(await cache.get('/v2/_catalog?n=0'))).toEqual({ repositories: [] });
  });

  test('a store that cannot list is told as such, not as an empty catalog', async () => {
    const storage = flakyStore(memoryStorage());
    const upstream = await startUpstream();
    const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url }], storage, catalog: true });
    storage.on('metadata.list', { fail: 'disk gone: /secret/path' });
    const got = await cache.get('/v2/_catalog');
    expect([got.status, got.errorCode]).toEqual([503, 'UNAVAILABLE']);
    expect(got.body.toString()).not.toContain('/secret/path');
  });
});
