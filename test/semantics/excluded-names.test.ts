import { describe, expect, test } from 'vitest';
import { startPair } from './cache-under-test.ts';

const exclude = { repositories: ['secret/**'], tags: ['latest'] };
const messageOf = (body: Buffer) => JSON.parse(body.toString()).errors[0].message;

describe('what an upstream excludes', () => {
  test('is refused with the reason, for each kind of question, before the upstream is asked', async () => {
    const { upstream, cache } = await startPair({ exclude });
    const image = upstream.addImage('secret/app', { tag: '1' });
    const paths = [
      'manifests/1',
      `manifests/${image.root.digest}`,
      `blobs/${image.config.digest}`,
      'tags/list',
      `referrers/${image.root.digest}`,
    ];
    for (const path of paths) {
      const got = await cache.get(`/v2/up/secret/app/${path}`);
      expect([got.status, got.errorCode]).toEqual([403, 'DENIED']);
      expect(messageOf(got.body)).toBe('excluded by policy: secret/app at up matches exclude.repositories "secret/**"');
      expect((await cache.head(`/v2/up/secret/app/${path}`)).status).toBe(403);
    }
    expect(upstream.count({})).toBe(0);
    expect(cache.seen('request').at(-1)).toMatchObject({
      upstream: 'up',
      repository: 'secret/app',
      error: 'not-admitted',
    });
  });

  test('is refused by tag, also from memory and with If-None-Match, and served by digest and by another tag', async () => {
    const { upstream, cache } = await startPair({ exclude, freshFor: '1h' });
    const image = upstream.addImage('team/app', { tag: 'latest' });
    upstream.tag('team/app', '1', image.root.digest);
    const path = (reference: string) => `/v2/up/team/app/manifests/${reference}`;
    for (let times = 0; times < 2; times++) {
      for (const reference of ['1', image.root.digest]) expect((await cache.get(path(reference))).status).toBe(200);
      const got = await cache.get(path('latest'), { headers: { 'if-none-match': `"${image.root.digest}"` } });
      expect([got.status, messageOf(got.body)]).toEqual([
        403,
        'excluded by policy: tag latest of team/app at up matches exclude.tags "latest"',
      ]);
    }
  });

  test('is left out of lists of tags, which go on behind it, and of the catalog', async () => {
    const { upstream, cache } = await startPair({ exclude, cache: { catalog: true } });
    const image = upstream.addImage('team/app', { tag: '1' });
    for (const tag of ['latest', 'new']) upstream.tag('team/app', tag, image.root.digest);
    const tagsOf = async (path: string) => {
      const got = await cache.get(path);
      return { tags: JSON.parse(got.body.toString()).tags, link: got.headers['link'] };
    };
    expect(await tagsOf('/v2/up/team/app/tags/list')).toEqual({ tags: ['1', 'new'], link: undefined });
    const page = await tagsOf('/v2/up/team/app/tags/list?n=1&last=1');
    expect(page.tags).toEqual([]);
    const next = /<(.+)>/.exec(page.link ?? '')?.[1];
    expect((await tagsOf(next!)).tags).toEqual(['new']);
    await cache.get('/v2/up/team/app/manifests/1');
    const catalog = JSON.parse((await cache.get('/v2/_catalog')).body.toString());
    expect(catalog.repositories).toEqual(['up/team/app']);
    await cache.restart({ upstreams: [{ key: 'up', url: upstream.url, exclude: { repositories: ['team/**'] } }] });
    expect(JSON.parse((await cache.get('/v2/_catalog')).body.toString()).repositories).toEqual([]);
  });

  test('is refused at that upstream alone: the same digest is served from another repository', async () => {
    const { upstream, cache } = await startPair({ exclude });
    const image = upstream.addImage('secret/app', { tag: '1', seed: 'same' });
    upstream.addImage('team/app', { tag: '1', seed: 'same' });
    for (const path of [`manifests/${image.root.digest}`, `blobs/${image.config.digest}`]) {
      expect((await cache.get(`/v2/up/secret/app/${path}`)).status).toBe(403);
      expect((await cache.get(`/v2/up/team/app/${path}`)).status).toBe(200);
      expect((await cache.get(`/v2/up/secret/app/${path}`)).status).toBe(403);
    }
  });
});

test('what was stored before its name was excluded is not said to be here, by the upstream or by a group', async () => {
  const { upstream, cache } = await startPair({ cache: { groups: [{ key: 'all', upstreams: ['up'] }] } });
  const { root } = upstream.addImage('team/app', { tag: '1' });
  upstream.tag('team/app', 'latest', root.digest);
  const names = ['team/app:1', 'team/app:latest', `team/app@${root.digest}`];
  const here = async (key: string) => await Promise.all(names.map((name) => cache.cache.has(`${key}/${name}`)));
  await cache.cache.warm(['up/team/app:1', 'up/team/app:latest']);
  for (const key of ['up', 'all']) expect(await here(key)).toEqual([true, true, true]);
  await cache.cache.upstreams.update('up', { exclude: { tags: ['latest'] } });
  for (const key of ['up', 'all']) expect(await here(key)).toEqual([true, false, true]);
  await cache.cache.upstreams.update('up', { exclude: { repositories: ['team/*'] } });
  for (const key of ['up', 'all']) expect(await here(key)).toEqual([false, false, false]);
});

test('an upstream that includes some names refuses all others', async () => {
  const { upstream, cache } = await startPair({ include: { repositories: ['team/*'], tags: ['v*'] }, library: true });
  for (const repository of ['team/app', 'library/app']) upstream.addImage(repository, { tag: 'v1' });
  const statusOf = async (path: string) => (await cache.get(`/v2/up/${path}`)).status;
  expect(await statusOf('team/app/manifests/v1')).toBe(200);
  expect(await statusOf('team/app/manifests/1')).toBe(403);
  expect(await statusOf('library/app/manifests/v1')).toBe(403);
  expect(await statusOf('app/manifests/v1')).toBe(403);
});
