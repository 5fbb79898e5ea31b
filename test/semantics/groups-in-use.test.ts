import type { AccessQuestion, ProxyCacheOptions } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startCache, startUpstream } from './cache-under-test.ts';
import { as, authenticate } from './callers.ts';
import { pullImage } from './pull-image.ts';
import type { Got } from './request.ts';

const digestIn = ({ headers }: Got) => headers['docker-content-digest'];
const messageIn = ({ body }: Got) => JSON.parse(body.toString()).errors[0].message as string;

/** A private registry and a public one as the group `all`; the public one has an image under two names. */
async function startGroup(options: Partial<ProxyCacheOptions> = {}) {
  const [corp, hub] = [await startUpstream(), await startUpstream()];
  const own = corp.addImage('team/app', { tag: '1', seed: 'corp' });
  const alpine = hub.addImage('library/alpine', { tag: '3', seed: 'alpine' });
  const impostor = hub.addImage('team/app', { tag: '1', seed: 'impostor' });
  const cache = await startCache({
    upstreams: [
      { key: 'corp', url: corp.url },
      { key: 'hub', url: hub.url },
    ],
    groups: [{ key: 'all', upstreams: ['corp', 'hub'] }],
    ...options,
  });
  return { corp, hub, own, alpine, impostor, cache };
}

const shown = (questions: readonly AccessQuestion[]) =>
  questions.map(({ action, upstream, repository, tagOrDigest = '' }) =>
    `${action} ${upstream} ${repository} ${tagOrDigest}`.trim(),
  );

describe('authorize', () => {
  test('is asked for the group before anybody else, then for the member, for each kind of question', async () => {
    const asked: AccessQuestion[] = [];
    const authorize = (question: AccessQuestion) => {
      asked.push(question);
      return true;
    };
    const { cache, own } = await startGroup({ access: { authenticate, authorize } });
    const { digest } = own.root;
    const layer = own.layers[0]!.digest;
    for (const rest of ['manifests/1', `manifests/${digest}`, `blobs/${layer}`, 'tags/list', `referrers/${digest}`]) {
      await cache.get(`/v2/all/team/app/${rest}`, as('ann'));
    }
    expect(shown(asked)).toEqual([
      ...['pull all team/app 1', 'pull corp team/app 1'],
      ...[`pull all team/app ${digest}`, `pull corp team/app ${digest}`],
      ...[`pull all team/app ${layer}`, `pull corp team/app ${layer}`],
      ...['list all team/app', 'list corp team/app'],
      ...[`list all team/app ${digest}`, `list corp team/app ${digest}`],
    ]);
    expect(new Set(asked.map(({ identity }) => identity?.name))).toEqual(new Set(['ann']));
  });

  test('that refuses the group has nothing asked upstream, one that refuses the member nothing served, warm or cold', async () => {
    let refused = 'all';
    const authorize = ({ upstream }: AccessQuestion) =>
      upstream === refused ? { allow: false, reason: `not from ${upstream}` } : true;
    const { corp, hub, cache } = await startGroup({ access: { authenticate, authorize } });
    const path = '/v2/all/team/app/manifests/1';
    const outsider = await cache.get(path, as('ann'));
    expect([outsider.status, outsider.errorCode, messageIn(outsider)]).toEqual([403, 'DENIED', 'not from all']);
    expect([...corp.requests, ...hub.requests]).toEqual([]);

    refused = 'corp';
    for (const rest of ['manifests/1', 'tags/list']) {
      const got = await cache.get(`/v2/all/team/app/${rest}`, as('ann'));
      expect([got.status, messageIn(got)]).toEqual([403, 'not from corp']);
    }
    refused = 'none';
    expect((await cache.get(path, as('ann'))).status).toBe(200);
    refused = 'corp';
    expect((await cache.get(path, as('ann'))).status).toBe(403);
    expect((await cache.head(path, as('ann'))).status).toBe(403);
    expect(
      cache.seen('pull').map(({ decision, group, upstream, status }) => [decision, group, upstream, status]),
    ).toEqual([
      ['deny', 'all', 'all', 403],
      ['deny', 'all', 'corp', 403],
      ['deny', 'all', 'corp', 403],
      ['allow', 'all', 'corp', 200],
      ['deny', 'all', 'corp', 403],
      ['deny', 'all', 'corp', 403],
    ]);
  });

  test('asks who comes without a login for one, where the member needs it', async () => {
    const authorize = ({ upstream, identity }: AccessQuestion) => upstream !== 'corp' || identity !== undefined;
    const { cache } = await startGroup({ access: { authenticate, authorize } });
    const got = await cache.get('/v2/all/team/app/manifests/1');
    expect([got.status, got.headers['www-authenticate']]).toEqual([401, 'Basic realm="proxycache"']);
    expect((await cache.get('/v2/all/library/alpine/manifests/3')).status).toBe(200);
  });
});

describe('authorize, when a name means a group only by then,', () => {
  test('has let nobody in to that group', async () => {
    const asked: string[] = [];
    const { corp, hub, cache } = await startGroup({ access: { authorize } });
    async function authorize({ upstream }: AccessQuestion) {
      asked.push(upstream);
      if (upstream === 'other') await cache.cache.upstreams.update('other', { hosts: [] });
      return true;
    }
    await cache.restart({ defaultUpstream: 'all' });
    await cache.cache.upstreams.add({ key: 'other', url: hub.url, hosts: ['x.example'] });
    const got = await cache.get('/v2/team/app/manifests/1', { headers: { host: 'x.example' } });
    expect([got.status, asked]).toEqual([503, ['other']]);
    expect(corp.requests).toEqual([]);
  });
});

describe('a policy', () => {
  test('judges what comes through a group as what it is: its member’s', async () => {
    const places: string[] = [];
    const { hub, cache } = await startGroup({
      admission: {
        upstreams: ['corp'],
        admit({ upstream, repository }) {
          places.push(`${upstream} ${repository}`);
          return { deny: true, reason: 'no' };
        },
      },
    });
    const pulled = await pullImage(cache, { path: '/v2/all/team/app', tag: '1' }, 'get-by-tag');
    expect([pulled.status, messageIn(pulled.first)]).toEqual([403, 'refused by policy: no']);
    // A refusal here is no "no" of the registry: what is judged bad is not had from elsewhere.
    expect(hub.requests).toEqual([]);
    expect(places).toEqual(['corp team/app']);
    expect((await pullImage(cache, { path: '/v2/all/library/alpine', tag: '3' })).status).toBe(200);
  });
});

describe('from code', () => {
  test('a group’s key is as good as an upstream’s: has, resolve and warm', async () => {
    const { corp, hub, own, alpine, cache } = await startGroup();
    expect(await cache.cache.has('all/team/app:1')).toBe(false);
    expect([...corp.requests, ...hub.requests]).toEqual([]);
    expect((await cache.cache.resolve('all/team/app:1')).digest).toBe(own.root.digest);
    expect((await cache.cache.resolve(`all/library/alpine@${alpine.root.digest}`)).digest).toBe(alpine.root.digest);
    await expect(cache.cache.resolve('all/none:1')).rejects.toMatchObject({ code: 'manifest-unknown' });

    const report = await cache.cache.warm(['all/team/app:1', 'all/library/alpine:3', 'all/none:1']);
    expect(report.references.map(({ outcome }) => outcome)).toEqual(['stored', 'stored', 'failed']);
    for (const reference of ['all/team/app:1', 'corp/team/app:1', 'all/library/alpine:3']) {
      expect([reference, await cache.cache.has(reference)]).toEqual([reference, true]);
    }
    await Promise.all([corp.stop(), hub.stop()]);
    for (const [path, tag] of [
      ['/v2/all/team/app', '1'],
      ['/v2/all/library/alpine', '3'],
    ] as const) {
      expect((await pullImage(cache, { path, tag })).status).toBe(200);
    }
  });

  test('has says nothing of what another member has stored under that name', async () => {
    const { cache } = await startGroup();
    await pullImage(cache, { path: '/v2/hub/team/app', tag: '1' });
    expect([await cache.cache.has('hub/team/app:1'), await cache.cache.has('all/team/app:1')]).toEqual([true, false]);
  });
});

test('_catalog lists each repository once, by its upstream’s key', async () => {
  const { cache } = await startGroup({ catalog: true });
  for (const rest of ['team/app/manifests/1', 'library/alpine/manifests/3']) await cache.get(`/v2/all/${rest}`);
  const got = await cache.get('/v2/_catalog');
  expect(JSON.parse(got.body.toString()).repositories).toEqual(['corp/team/app', 'hub/library/alpine']);
});

test('what is pulled through a group has its layers fetched ahead, as its member says', async () => {
  const [corp, hub] = [await startUpstream(), await startUpstream()];
  const { layers } = hub.addImage('app', { tag: '1' });
  const cache = await startCache({
    upstreams: [
      { key: 'corp', url: corp.url },
      { key: 'hub', url: hub.url, prefetch: 'layers' },
    ],
    groups: [{ key: 'all', upstreams: ['corp', 'hub'] }],
  });
  await cache.get('/v2/all/app/manifests/1');
  await expect
    .poll(() => cache.seen('ingest-ended').map(({ outcome }) => outcome))
    .toEqual(['stored', 'stored', 'stored']);
  hub.clear();
  expect((await cache.get(`/v2/all/app/blobs/${layers[0]!.digest}`)).status).toBe(200);
  expect(hub.requests).toEqual([]);
});

describe('members that come and go while it runs', () => {
  const everyWay = (cache: CacheUnderTest, name: string) =>
    Promise.all(['manifests/1', 'manifests/none', 'tags/list'].map((rest) => cache.get(`/v2/all/${name}/${rest}`)));

  test('one that is removed is missed: nothing is had from the next in its place, owned or not', async () => {
    const { hub, cache } = await startGroup();
    hub.addImage('new', { tag: '1' });
    await cache.get('/v2/all/team/app/manifests/1');
    await cache.cache.upstreams.remove('corp');
    for (const name of ['team/app', 'new']) {
      for (const got of await everyWay(cache, name)) {
        expect([got.status, messageIn(got)]).toEqual([
          503,
          `${name} of the group all: corp is not among the upstreams of this cache (any more)`,
        ]);
      }
    }
    expect(hub.requests).toEqual([]);
  });

  test('one whose removal is kept is missed after a restart as well, although the options still have it', async () => {
    const { hub, cache } = await startGroup({ persistUpstreams: {} });
    hub.addImage('new', { tag: '1' });
    await cache.get('/v2/all/team/app/manifests/1');
    await cache.cache.upstreams.remove('corp');
    await cache.restart();
    for (const name of ['team/app', 'new']) {
      for (const got of await everyWay(cache, name)) {
        expect([got.status, messageIn(got)]).toEqual([503, expect.stringContaining('corp is not among the upstreams')]);
      }
    }
    expect(hub.requests).toEqual([]);
  });

  test('one that is added again owns what it owned', async () => {
    const { corp, own, cache } = await startGroup();
    await cache.get('/v2/all/team/app/manifests/1');
    await cache.cache.upstreams.remove('corp');
    await cache.cache.upstreams.add({ key: 'corp', url: corp.url });
    expect(digestIn(await cache.get('/v2/all/team/app/manifests/1'))).toBe(own.root.digest);
  });

  test('one that is offline serves what is stored, and nothing is had from the next for what is not', async () => {
    const { hub, own, cache } = await startGroup();
    hub.addImage('new', { tag: '1' });
    await cache.get('/v2/all/team/app/manifests/1');
    await cache.cache.upstreams.update('corp', { mode: 'offline' });
    expect(digestIn(await cache.get('/v2/all/team/app/manifests/1'))).toBe(own.root.digest);
    expect((await cache.get('/v2/all/new/manifests/1')).status).toBe(504);
    expect(hub.requests).toEqual([]);
  });

  test('none takes a group’s key, or becomes one whose callers bring their credentials', async () => {
    const { corp, cache } = await startGroup();
    await expect(cache.cache.upstreams.add({ key: 'all', url: corp.url })).rejects.toMatchObject({
      message: 'upstream.key: expected a key that is not a group\'s, received "all"',
    });
    await expect(cache.cache.upstreams.update('corp', { credentials: 'caller' })).rejects.toMatchObject({
      message: 'upstream.credentials: expected "own", as it is a member of the group "all", received "caller"',
    });
  });

  test('the default may be a group, whichever upstreams there are', async () => {
    const { own, corp, cache } = await startGroup({ defaultUpstream: 'all' });
    await cache.cache.upstreams.add({ key: 'more', url: corp.url });
    expect(digestIn(await cache.get('/v2/team/app/manifests/1'))).toBe(own.root.digest);
  });
});

test('a group of a key that an upstream was added by before is the group all the same', async () => {
  const secret = { encryptionKey: 'k'.repeat(32) };
  const { hub, own, corp, cache } = await startGroup({ groups: [], persistUpstreams: secret });
  await cache.cache.upstreams.add({ key: 'all', url: hub.url });
  const given = [
    { key: 'corp', url: corp.url },
    { key: 'hub', url: hub.url },
  ];
  await cache.restart({ upstreams: given, groups: [{ key: 'all', upstreams: ['corp', 'hub'] }] });
  expect(digestIn(await cache.get('/v2/all/team/app/manifests/1'))).toBe(own.root.digest);
});

test('a group with library has its one-component names below library/ at every member', async () => {
  const { corp, hub, alpine, cache } = await startGroup({
    groups: [{ key: 'all', upstreams: ['corp', 'hub'], library: true }],
  });
  expect(digestIn(await cache.get('/v2/all/alpine/manifests/3'))).toBe(alpine.root.digest);
  expect([...corp.requests, ...hub.requests].some(({ path }) => path.startsWith('/v2/alpine/'))).toBe(false);
  expect((await cache.cache.groups.pins('all')).map(({ repository }) => repository)).toEqual(['library/alpine']);
});

test('a ping of a group asks nobody for a login, also beside an upstream whose callers bring theirs', async () => {
  const [corp, hub] = [await startUpstream(), await startUpstream()];
  const cache = await startCache({
    upstreams: [
      { key: 'corp', url: corp.url, credentials: 'caller' },
      { key: 'hub', url: hub.url },
    ],
    groups: [{ key: 'all', upstreams: ['hub'], hosts: ['all.example'] }],
  });
  expect((await cache.get('/v2/')).status).toBe(401);
  expect((await cache.get('/v2/', { headers: { host: 'all.example' } })).status).toBe(200);
});
