import type { ProxyCacheOptions, UpstreamOptions } from '@proxycache/core';
import { type FakeUpstream, type FlakyStorage, flakyStore, gate } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startCache, startUpstream } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';
import type { Got } from './request.ts';

type Group = Omit<NonNullable<ProxyCacheOptions['groups']>[number], 'key' | 'upstreams'>;

interface Set {
  corp: FakeUpstream;
  hub: FakeUpstream;
  cache: CacheUnderTest;
  /** Of the cache as it was started last. */
  readonly store: FlakyStorage;
}

// What each single answer means: a breaker that opens would answer in its place.
const breaker = { failures: 1_000 };

/** A private registry and a public one as the group `all`, in that order. */
async function startGroup(
  group: Group = {},
  more: { corp?: Partial<UpstreamOptions>; hub?: Partial<UpstreamOptions>; cache?: Partial<ProxyCacheOptions> } = {},
): Promise<Set> {
  const [corp, hub] = [await startUpstream(), await startUpstream()];
  const upstreams = [
    { key: 'corp', url: corp.url, breaker, ...more.corp },
    { key: 'hub', url: hub.url, breaker, ...more.hub },
  ];
  let store: FlakyStorage | undefined;
  const cache = await startCache(
    { upstreams, groups: [{ key: 'all', upstreams: ['corp', 'hub'], ...group }], ...more.cache },
    {
      wrapStorage(storage) {
        store = flakyStore(storage);
        return store;
      },
    },
  );
  return {
    corp,
    hub,
    cache,
    get store() {
      return store!;
    },
  };
}

const path = (rest: string, repository = 'app') => `/v2/all/${repository}/${rest}`;
const digestIn = ({ headers }: Got) => headers['docker-content-digest'];
const messageIn = ({ body }: Got) => JSON.parse(body.toString()).errors[0].message as string;
const ownersOf = async ({ cache }: Set) =>
  (await cache.cache.groups.pins('all')).map(({ repository, upstream }) => `${repository} of ${upstream}`);

describe('a group', () => {
  test('serves an image from the first member that has it, and that member owns the repository from then on', async () => {
    const set = await startGroup();
    const { corp, hub, cache } = set;
    const own = corp.addImage('app', { tag: '1', seed: 'corp' });
    hub.addImage('app', { tag: '1', seed: 'hub' });
    const other = hub.addImage('library/alpine', { tag: '3', seed: 'alpine' });

    const pulled = await pullImage(cache, { path: '/v2/all/app', tag: '1' });
    expect([pulled.status, pulled.digest]).toEqual([200, own.root.digest]);
    expect(hub.requests).toEqual([]);

    const alpine = await pullImage(cache, { path: '/v2/all/library/alpine', tag: '3' }, 'get-by-tag');
    expect([alpine.status, alpine.digest]).toEqual([200, other.root.digest]);
    expect(await ownersOf(set)).toEqual(['app of corp', 'library/alpine of hub']);
    expect(cache.seen('group-pinned')).toEqual([
      { type: 'group-pinned', group: 'all', repository: 'app', upstream: 'corp' },
      { type: 'group-pinned', group: 'all', repository: 'library/alpine', upstream: 'hub' },
    ]);
    expect(cache.seen('request').at(-1)).toMatchObject({ group: 'all', upstream: 'hub', repository: 'library/alpine' });
  });

  test('asks nobody but its owner for what is owned, no more than a pull from that one does, and shares what is stored', async () => {
    const { corp, hub, cache } = await startGroup();
    const { root, layers } = hub.addImage('app', { tag: '1' });
    await pullImage(cache, { path: '/v2/all/app', tag: '1' });
    corp.clear();
    hub.clear();
    await pullImage(cache, { path: '/v2/all/app', tag: '1' }, 'get-by-tag');
    expect(corp.requests).toEqual([]);
    expect(hub.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(['HEAD /v2/app/manifests/1']);
    hub.clear();
    for (const name of ['hub', 'all']) {
      expect((await cache.get(`/v2/${name}/app/manifests/${root.digest}`)).status).toBe(200);
      expect((await cache.get(`/v2/${name}/app/blobs/${layers[0]!.digest}`)).status).toBe(200);
    }
    expect(hub.requests).toEqual([]);
  });

  test('costs a cold pull of an owned repository nothing beside it', async () => {
    const { corp, hub, cache } = await startGroup();
    hub.addImage('app', { tag: '1', seed: 'one' });
    hub.addImage('app', { tag: '2', seed: 'two' });
    hub.addImage('direct', { tag: '2', seed: 'three' });
    await cache.head(path('manifests/1'));
    corp.clear();
    hub.clear();
    await pullImage(cache, { path: '/v2/all/app', tag: '2' }, 'get-by-tag');
    const through = hub.requests.length;
    hub.clear();
    await pullImage(cache, { path: '/v2/hub/direct', tag: '2' }, 'get-by-tag');
    expect([through, corp.requests.length]).toEqual([hub.requests.length, 0]);
  });

  test('answers 404 for what no member has, and gives nobody the repository', async () => {
    const set = await startGroup();
    const { root } = set.corp.addImage('elsewhere', { tag: '1' });
    const asked = [
      'manifests/1',
      `manifests/${root.digest}`,
      `blobs/${root.digest}`,
      'tags/list',
      `referrers/${root.digest}`,
    ];
    for (const rest of asked) {
      const got = await set.cache.get(path(rest));
      expect([rest, got.status]).toEqual([rest, 404]);
      expect(messageIn(got)).toContain('is at no member of the group all (corp, hub)');
    }
    expect(await ownersOf(set)).toEqual([]);
  });

  test('serves by digest, without a tag, from whoever has the bytes, which makes nobody the owner', async () => {
    const set = await startGroup();
    const { corp, hub, cache } = set;
    const { root, layers } = hub.addImage('app', { tag: '1' });
    hub.addReferrer('app', { subject: root, artifactType: 'application/vnd.example' });
    expect((await cache.get(path(`manifests/${root.digest}`))).status).toBe(200);
    corp.clear();
    expect((await cache.get(path(`blobs/${layers[0]!.digest}`))).status).toBe(200);
    // Who had the manifest is asked first for the rest.
    expect(corp.requests).toEqual([]);
    const referrers = await cache.get(path(`referrers/${root.digest}`));
    expect(JSON.parse(referrers.body.toString()).manifests).toHaveLength(1);
    expect(await ownersOf(set)).toEqual([]);
    const own = corp.addImage('app', { tag: '9', seed: 'corp' });
    expect((await cache.get(path(`blobs/${own.layers[0]!.digest}`))).status).toBe(200);
  });

  test('serves by digest what its first member has, also while the one that had the rest of the image fails or denies', async () => {
    const { corp, hub, cache } = await startGroup();
    const there = hub.addImage('app', { tag: '1', seed: 'hub' });
    const [first, second] = ['one', 'two'].map((seed) => corp.addImage('app', { tag: seed, seed }));
    for (const [status, image] of [
      [500, first!],
      [403, second!],
    ] as const) {
      expect((await cache.get(path(`manifests/${there.root.digest}`))).status).toBe(200);
      const restore = hub.on({}, { status });
      expect((await cache.get(path(`manifests/${image.root.digest}`))).status).toBe(200);
      restore();
    }
  });

  test('takes what refers to an image from its first member that has the image, whoever had a blob of that name', async () => {
    const { corp, hub, cache } = await startGroup();
    const image = corp.addImage('app', { tag: '1' });
    hub.addImage('app', { tag: '1' });
    const base = hub.addImage('app', { tag: 'base', seed: 'base' });
    const own = corp.addReferrer('app', { subject: image.root, artifactType: 'application/vnd.own' });
    hub.addReferrer('app', { subject: image.root, artifactType: 'application/vnd.impostor' });
    expect((await cache.get(path(`blobs/${base.layers[0]!.digest}`))).status).toBe(200);
    const referrers = JSON.parse((await cache.get(path(`referrers/${image.root.digest}`))).body.toString());
    expect(referrers.manifests.map(({ digest }: { digest: string }) => digest)).toEqual([own.digest]);
  });

  test('lists the tags of the first member that knows the repository, which owns it by that', async () => {
    const set = await startGroup();
    set.hub.addImage('app', { tag: '1' });
    set.hub.addImage('app', { tag: '2' });
    const page = await set.cache.get(path('tags/list?n=1'));
    expect(JSON.parse(page.body.toString())).toEqual({ name: 'all/app', tags: ['1'] });
    expect(page.headers['link']).toMatch(/^<\/v2\/all\/app\/tags\/list\?n=1&cursor=/);
    const next = await set.cache.get(/<(.+)>/.exec(page.headers['link']!)![1]!);
    expect(JSON.parse(next.body.toString()).tags).toEqual(['2']);
    expect(await ownersOf(set)).toEqual(['app of hub']);
  });

  test('may be the default, and answer for a source host before the upstream that declares it too', async () => {
    const [corp, hub] = [await startUpstream(), await startUpstream()];
    const own = corp.addImage('team/app', { tag: '1', seed: 'corp' });
    const alpine = hub.addImage('library/alpine', { tag: '3' });
    const cache = await startCache({
      upstreams: [
        { key: 'corp', url: corp.url },
        { key: 'docker-hub', url: hub.url, hosts: ['docker.io'], library: true },
      ],
      groups: [{ key: 'all', upstreams: ['corp', 'docker-hub'], hosts: ['docker.io', 'all.example'] }],
      defaultUpstream: 'all',
    });
    const host = { headers: { host: 'all.example' } };
    for (const [name, headers] of [
      ['/v2/team/app/manifests/1', {}],
      ['/v2/team/app/manifests/1?ns=docker.io', {}],
      ['/v2/all/team/app/manifests/1?ns=docker.io', {}],
      ['/v2/team/app/manifests/1', host],
    ] as const) {
      expect([name, digestIn(await cache.get(name, headers))]).toEqual([name, own.root.digest]);
    }
    // Of a member's own: one component means library/ there, and nowhere else.
    for (const name of [
      '/v2/alpine/manifests/3',
      '/v2/all/alpine/manifests/3',
      '/v2/alpine/manifests/3?ns=docker.io',
    ]) {
      expect(digestIn(await cache.get(name))).toBe(alpine.root.digest);
    }
    expect(corp.count({ path: '/v2/alpine/manifests/3' })).toBeGreaterThan(0);
    expect((await cache.get('/v2/docker-hub/team/app/manifests/1')).status).toBe(404);
  });

  test('passes over a member whose own rules exclude the repository, but not one that excludes the tag', async () => {
    const exclude = { repositories: ['public/**'], tags: ['latest'] };
    const set = await startGroup({}, { corp: { exclude } });
    const { corp, hub, cache } = set;
    corp.addImage('public/app', { tag: '1', seed: 'corp' });
    const open = hub.addImage('public/app', { tag: '1', seed: 'hub' });
    expect(digestIn(await cache.get(path('manifests/1', 'public/app')))).toBe(open.root.digest);

    const { root } = corp.addImage('app', { tag: '1' });
    corp.tag('app', 'latest', root.digest);
    hub.addImage('app', { tag: 'latest', seed: 'hub' });
    const refused = await cache.get(path('manifests/latest'));
    expect([refused.status, messageIn(refused)]).toEqual([
      403,
      'excluded by policy: tag latest of app at corp matches exclude.tags "latest"',
    ]);
    expect(await ownersOf(set)).toEqual(['app of corp', 'public/app of hub']);
  });

  test('takes no push', async () => {
    const { cache } = await startGroup();
    const got = await cache.get(path('manifests/1'), { method: 'PUT' });
    expect([got.status, got.errorCode]).toEqual([403, 'DENIED']);
  });
});

/** What every kind of request for a name gets, of which the public registry has an impostor. */
async function everyWay({ hub, cache }: Set, repository = 'app'): Promise<Got[]> {
  const impostor = hub.addImage(repository, { tag: '1', seed: 'impostor' });
  hub.tag(repository, 'only-there', impostor.root.digest);
  hub.addReferrer(repository, { subject: impostor.root, artifactType: 'application/vnd.example' });
  const rests = [
    'manifests/1',
    'manifests/only-there',
    `manifests/${impostor.root.digest}`,
    `blobs/${impostor.layers[0]!.digest}`,
    'tags/list',
    `referrers/${impostor.root.digest}`,
  ];
  const all: Got[] = [];
  for (const rest of rests) {
    all.push(await cache.get(path(rest, repository)), await cache.head(path(rest, repository)));
  }
  return all;
}
const statuses = (all: readonly Got[]) => [...new Set(all.map(({ status }) => status))];

describe('dependency confusion: a public image under the name of a private one is not served from the group', () => {
  test.each<[what: string, fail: (corp: FakeUpstream) => unknown, status: number]>([
    ['is down', (corp) => corp.stop(), 502],
    ['drops connections', (corp) => corp.on({}, { drop: 'rst' }), 502],
    ['answers 500', (corp) => corp.on({}, { status: 500 }), 503],
    ['answers 429', (corp) => corp.on({}, { status: 429 }), 429],
    ['answers 401', (corp) => corp.change({ auth: { basic: { username: 'x', password: 'y' } } }), 403],
    ['answers 403', (corp) => corp.on({}, { status: 403 }), 403],
    ['answers a page of HTML with 404', (corp) => corp.change({ personality: 'html-404' }), 502],
    ['is behind a captive portal', (corp) => corp.change({ personality: 'captive-portal' }), 502],
  ])('while the private registry %s', async (_what, fail, status) => {
    const set = await startGroup();
    await fail(set.corp);
    const all = await everyWay(set);
    expect(statuses(all)).toEqual([status]);
    expect(set.hub.requests).toEqual([]);
    expect(await ownersOf(set)).toEqual([]);
  });

  test('who pulls a public image that the private registry denies is told why it goes no further', async () => {
    const { corp, hub, cache } = await startGroup();
    hub.addImage('app', { tag: '1' });
    corp.on({}, { status: 403 });
    expect(messageIn(await cache.get(path('manifests/1')))).toBe(
      'app at corp does not exist or needs other credentials; the group all asks no member behind one that denies',
    );
  });

  test('while the private registry takes requests and answers none: 504', async () => {
    const { corp, hub, cache } = await startGroup();
    corp.on({}, { hang: true });
    hub.addImage('app', { tag: '1', seed: 'impostor' });
    const asked = cache.get(path('manifests/1'));
    await expect.poll(() => corp.count({}), { timeout: 15_000 }).toBe(1);
    await cache.clock.advance(10_000);
    const got = await asked;
    expect([got.status, got.errorCode]).toEqual([504, 'UNAVAILABLE']);
    expect(hub.requests).toEqual([]);
  });

  test('while the private registry failed so often that it is not asked at all', async () => {
    const { corp, hub, cache } = await startGroup({}, { corp: { breaker: { failures: 3 } } });
    corp.on({}, { drop: 'rst' });
    hub.addImage('app', { tag: '1', seed: 'impostor' });
    const asked: number[] = [];
    for (let times = 0; times < 6; times++) asked.push((await cache.get(path('manifests/1'))).status);
    expect(asked.at(-1)).toBe(503);
    expect(asked.every((status) => status >= 500)).toBe(true);
    expect(hub.requests).toEqual([]);
  });

  test('while the private registry refuses the credentials that are set up for it', async () => {
    const auth = { username: 'wrong', password: 'wrong' };
    const set = await startGroup({}, { corp: { auth } });
    set.corp.change({ auth: { bearer: { users: { right: { password: 'right' } } } } });
    expect(statuses(await everyWay(set))).toEqual([502]);
    expect(set.hub.requests).toEqual([]);
  });
});

describe('dependency confusion, where the private registry has the repository', () => {
  /** The private image was pulled through the group; the public registry has one of the same name. */
  async function startOwned(...how: Parameters<typeof startGroup>) {
    const set = await startGroup(...how);
    const own = set.corp.addImage('app', { tag: '1', seed: 'corp' });
    const impostor = set.hub.addImage('app', { tag: '1', seed: 'impostor' });
    set.hub.tag('app', '2', impostor.root.digest);
    expect(digestIn(await set.cache.get(path('manifests/1')))).toBe(own.root.digest);
    return Object.assign(set, { own, impostor });
  }

  test('a tag that is missing there is 404, whether the repository was ever pulled or not', async () => {
    const set = await startGroup();
    const { corp, hub, cache } = set;
    for (const repository of ['app', 'other']) corp.addImage(repository, { tag: '1', seed: 'corp' });
    for (const repository of ['app', 'other']) hub.addImage(repository, { tag: '2', seed: 'impostor' });
    await cache.get(path('manifests/1'));
    for (const repository of ['app', 'other']) {
      const got = await cache.get(path('manifests/2', repository));
      expect([got.status, got.errorCode]).toEqual([404, 'MANIFEST_UNKNOWN']);
    }
    expect(hub.requests).toEqual([]);
    expect(await ownersOf(set)).toEqual(['app of corp', 'other of corp']);
  });

  test.each<[what: string, fail: (corp: FakeUpstream) => unknown]>([
    ['is down', (corp) => corp.stop()],
    ['answers 500', (corp) => corp.on({}, { status: 500 })],
  ])(
    'what is stored is served while it %s, also after a restart, and what is not never comes from elsewhere',
    async (_what, fail) => {
      const { corp, hub, cache, own } = await startOwned();
      await fail(corp);
      for (const again of [false, true]) {
        if (again) await cache.restart();
        const got = await cache.get(path('manifests/1'));
        expect([got.status, digestIn(got), got.headers['warning']]).toEqual([
          200,
          own.root.digest,
          expect.stringContaining('corp'),
        ]);
        expect((await cache.get(path('manifests/2'))).status).toBeGreaterThanOrEqual(500);
      }
      expect(hub.requests).toEqual([]);
    },
  );

  test.each([401, 403, 404])(
    'every request is refused while it answers %i to all of them, also after a restart',
    async (status) => {
      const { corp, hub, cache, impostor } = await startOwned({}, { corp: { linkValidFor: 0 } });
      corp.on({}, { status });
      for (const again of [false, true]) {
        if (again) await cache.restart();
        for (const rest of ['manifests/1', 'manifests/2', `manifests/${impostor.root.digest}`, 'tags/list']) {
          const got = await cache.get(path(rest));
          expect([rest, got.status]).toEqual([rest, status === 404 ? 404 : 403]);
        }
        expect((await cache.get(path(`blobs/${impostor.layers[0]!.digest}`))).status).toBe(status === 404 ? 404 : 403);
      }
      expect(hub.requests).toEqual([]);
    },
  );

  test('what belongs to a key that was removed is refused, and comes from no other member', async () => {
    const { hub, cache } = await startOwned();
    const upstreams = [{ key: 'hub', url: hub.url }];
    // The group has it still, or no more: the repository belongs to it either way.
    await cache.restart({ upstreams, reservedKeys: ['corp'] });
    for (const members of [['corp', 'hub'], ['hub']]) {
      await cache.restart({ upstreams, reservedKeys: ['corp'], groups: [{ key: 'all', upstreams: members }] });
      for (const rest of ['manifests/1', 'manifests/2', 'tags/list']) {
        const got = await cache.get(path(rest));
        expect([got.status, got.errorCode]).toEqual([503, 'UNAVAILABLE']);
        expect(messageIn(got)).toContain('app of the group all: corp ');
        expect(got.headers['retry-after']).toBeDefined();
      }
    }
    expect(hub.requests).toEqual([]);
  });

  test('a repository that nobody owned yet is refused, too, when the key of a member was removed', async () => {
    const { hub, cache } = await startGroup();
    hub.addImage('new', { tag: '1' });
    await cache.restart({ upstreams: [{ key: 'hub', url: hub.url }], reservedKeys: ['corp'] });
    expect((await cache.get(path('manifests/1', 'new'))).status).toBe(503);
    expect(hub.requests).toEqual([]);
  });

  test('nothing is served while the metadata store cannot say who owns it, but what this process read before', async () => {
    const set = await startOwned();
    const { corp, hub, cache, store, own } = set;
    store.on('metadata.get', { fail: 'away' });
    store.on('metadata.set', { fail: 'away' });
    // Read before, and held while the store is away.
    for (const wait of [0, 120_000]) {
      await cache.clock.advance(wait);
      expect(digestIn(await cache.get(path('manifests/1')))).toBe(own.root.digest);
    }
    await corp.stop();
    await cache.restart();
    set.store.on('metadata.get', { fail: 'away' });
    for (const rest of ['manifests/1', 'manifests/2', 'tags/list']) {
      const got = await cache.get(path(rest));
      expect([rest, got.status, got.errorCode]).toEqual([rest, 503, 'UNAVAILABLE']);
    }
    expect(hub.requests).toEqual([]);
    expect(cache.seen('store-failed').map(({ subject }) => subject)).toContain('pin/all/app');
  });

  test('an owner that cannot be written down is none: 503, and the next pull looks anew', async () => {
    const set = await startGroup();
    set.hub.addImage('app', { tag: '1' });
    set.store.on('metadata.set', { fail: 'read-only' });
    expect((await set.cache.get(path('manifests/1'))).status).toBe(503);
    set.store.heal();
    expect((await set.cache.get(path('manifests/1'))).status).toBe(200);
    expect(await ownersOf(set)).toEqual(['app of hub']);
  });

  test('a record of an owner that nobody can read is no owner given up, not by a scrub either, but by unpin alone', async () => {
    const set = await startOwned();
    const { cache, hub, store } = set;
    const { signal } = new AbortController();
    await store.metadata.set('pin/all/app', '{"format":1,', { signal });
    await cache.cache.scrub();
    await cache.restart();
    expect((await cache.get(path('manifests/1'))).status).toBe(503);
    expect(hub.requests).toEqual([]);
    expect(await cache.cache.groups.pins('all')).toEqual([{ repository: 'app' }]);
    await cache.cache.groups.unpin('all', 'app');
    expect((await cache.get(path('manifests/1'))).status).toBe(200);
    expect(await ownersOf(set)).toEqual(['app of corp']);
  });
});

describe('pin', () => {
  const pin = [
    { repositories: ['team/open'], upstream: 'hub' },
    { repositories: ['team/**', 'app'], upstream: 'corp' },
  ];

  test('binds names to a member, whatever the others have: when it is up, down, denies, or has nothing', async () => {
    const set = await startGroup({ pin });
    const { corp, hub, cache } = set;
    const own = corp.addImage('app', { tag: '1', seed: 'corp' });
    hub.addImage('app', { tag: '1', seed: 'hub' });
    const open = hub.addImage('team/open', { tag: '1', seed: 'open' });
    corp.addImage('team/open', { tag: '1', seed: 'not this' });
    expect(digestIn(await cache.get(path('manifests/1')))).toBe(own.root.digest);
    expect(digestIn(await cache.get(path('manifests/1', 'team/open')))).toBe(open.root.digest);
    hub.clear();
    expect(statuses(await everyWay(set, 'team/absent'))).toEqual([404]);
    const restore = corp.on({}, { status: 403 });
    expect(statuses(await everyWay(set, 'team/denied'))).toEqual([403]);
    restore();
    await corp.stop();
    expect(statuses(await everyWay(set, 'team/down'))).toEqual([502]);
    expect(hub.requests).toEqual([]);
    // By its name: nobody has to write that down.
    expect(await ownersOf(set)).toEqual([]);
  });

  test('holds against what was owned before it was there', async () => {
    const { corp, hub, cache } = await startGroup();
    hub.addImage('app', { tag: '1', seed: 'hub' });
    expect((await cache.get(path('manifests/1'))).status).toBe(200);
    const own = corp.addImage('app', { tag: '1', seed: 'corp' });
    await cache.restart({ groups: [{ key: 'all', upstreams: ['corp', 'hub'], pin }] });
    expect(digestIn(await cache.get(path('manifests/1')))).toBe(own.root.digest);
  });

  test('binds a one-component name of a group with library by either of its names', async () => {
    for (const repositories of [['tool'], ['library/tool']]) {
      const group = { library: true, pin: [{ repositories, upstream: 'corp' }] };
      const { hub, cache } = await startGroup(group);
      hub.addImage('library/tool', { tag: '1' });
      for (const name of ['tool', 'library/tool']) {
        expect((await cache.get(path('manifests/1', name))).status).toBe(404);
      }
      expect(hub.requests).toEqual([]);
    }
  });

  test('holds while the metadata store is away', async () => {
    const { corp, cache, store } = await startGroup({ pin });
    const own = corp.addImage('app', { tag: '1', seed: 'corp' });
    store.on('metadata.get', { fail: 'away' });
    expect(digestIn(await cache.get(path('manifests/1')))).toBe(own.root.digest);
  });
});

describe('skipFailed', () => {
  test('passes over a member that fails, and lets nobody own anything by that', async () => {
    const set = await startGroup({ skipFailed: true });
    const { corp, hub, cache } = set;
    const own = corp.addImage('app', { tag: '1', seed: 'corp' });
    const open = hub.addImage('app', { tag: '1', seed: 'hub' });
    const restore = corp.on({}, { status: 500 });
    const pulled = await pullImage(cache, { path: '/v2/all/app', tag: '1' });
    expect([pulled.status, pulled.digest]).toEqual([200, open.root.digest]);
    expect(await ownersOf(set)).toEqual([]);
    expect((await cache.get(path('manifests/none'))).status).toBe(503);
    restore();
    expect(digestIn(await cache.get(path('manifests/1')))).toBe(own.root.digest);
    expect(await ownersOf(set)).toEqual(['app of corp']);
  });

  test('passes over nobody who was given the repository by another process meanwhile', async () => {
    const { corp, hub, cache, store } = await startGroup({ skipFailed: true });
    const own = corp.addImage('app', { tag: '1', seed: 'corp' });
    hub.addImage('app', { tag: '1', seed: 'hub' });
    const restore = corp.on({}, { status: 500 });
    const held = gate();
    hub.on({ method: 'HEAD', times: 1 }, { gate: held });
    const late = cache.get(path('manifests/1'));
    await held.reached;
    restore();
    const record = { format: 1, repository: 'app', upstream: 'corp', pinnedAt: 1 };
    await store.metadata.set('pin/all/app', JSON.stringify(record), { signal: new AbortController().signal });
    held.open();
    expect(digestIn(await late)).toBe(own.root.digest);
  });

  test('passes over no denial, and over nobody who owns a repository', async () => {
    const { corp, hub, cache } = await startGroup({ skipFailed: true });
    corp.addImage('app', { tag: '1' });
    await cache.get(path('manifests/1'));
    hub.addImage('app', { tag: '2' });
    hub.addImage('new', { tag: '1' });
    const restore = corp.on({}, { status: 500 });
    expect((await cache.get(path('manifests/2'))).status).toBe(503);
    restore();
    corp.on({}, { status: 403 });
    expect((await cache.get(path('manifests/1', 'new'))).status).toBe(403);
    expect(hub.requests).toEqual([]);
  });
});

describe('deniedMayMeanAbsent', () => {
  test.each<[of: string, set: () => Promise<Set>]>([
    ['the group', () => startGroup({ deniedMayMeanAbsent: true })],
    ['the member', () => startGroup({}, { corp: { deniedMayMeanAbsent: true } })],
  ])('of %s takes a denial for a no, which leads to the next member', async (_of, start) => {
    const set = await start();
    set.corp.change({ personality: 'docker-hub' });
    const open = set.hub.addImage('app', { tag: '1' });
    expect(digestIn(await set.cache.get(path('manifests/1')))).toBe(open.root.digest);
    expect(await ownersOf(set)).toEqual(['app of hub']);
    expect((await set.cache.get(path('manifests/1', 'none'))).status).toBe(404);
  });

  test('of a member with a credential leads to nobody: its rights may be gone, and what it has must not be had elsewhere', async () => {
    const auth = { username: 'ann', password: 'a' };
    const set = await startGroup({}, { corp: { deniedMayMeanAbsent: true, auth } });
    set.hub.addImage('app', { tag: '1' });
    for (const status of [401, 403]) {
      const answers = ['manifests/1', `manifests/${set.hub.addImage('app').root.digest}`, 'tags/list'];
      set.corp.on({}, { status, body: JSON.stringify({ errors: [{ code: 'DENIED', message: 'no' }] }) });
      for (const rest of answers) {
        const answer = await set.cache.get(path(rest));
        expect([403, 502], rest).toContain(answer.status);
        expect(answer.headers['docker-content-digest']).toBeUndefined();
      }
      set.corp.heal();
    }
    expect(set.hub.requests).toEqual([]);
    expect(await ownersOf(set)).toEqual([]);
  });
});

test('unpin lets go of a repository, which whoever has it first owns next', async () => {
  const set = await startGroup();
  const { corp, hub, cache } = set;
  hub.addImage('app', { tag: '1', seed: 'hub' });
  await cache.get(path('manifests/1'));
  const own = corp.addImage('app', { tag: '1', seed: 'corp' });
  expect(await cache.cache.groups.unpin('all', 'app')).toBe(true);
  expect(digestIn(await cache.get(path('manifests/1')))).toBe(own.root.digest);
  expect(await cache.cache.groups.unpin('all', 'none')).toBe(false);
  await expect(cache.cache.groups.unpin('hub', 'app')).rejects.toMatchObject({ code: 'name-unknown' });
  expect(cache.seen('group-unpinned')).toEqual([{ type: 'group-unpinned', group: 'all', repository: 'app' }]);
});

test('an owned repository is answered from memory, until it is let go of or a minute has passed', async () => {
  const fresh = { freshFor: '1h' } as const;
  const set = await startGroup({}, { corp: fresh, hub: fresh, cache: { access: {} } });
  const { corp, hub, cache, store } = set;
  const open = hub.addImage('app', { tag: '1', seed: 'hub' });
  const pull = async () => digestIn(await cache.get(path('manifests/1')));
  expect([await pull(), await pull()]).toEqual([open.root.digest, open.root.digest]);
  const reads = () => store.calls('metadata.get') + store.calls('blobs.open');
  const before = reads();
  for (let times = 0; times < 3; times++) expect(await pull()).toBe(open.root.digest);
  expect(reads()).toBe(before);
  const told = { group: 'all', upstream: 'hub', repository: 'app', reference: '1', cacheStatus: { hit: true } };
  expect(cache.seen('request').at(-1)).toMatchObject(told);
  expect(cache.seen('pull').at(-1)).toMatchObject(told);

  const own = corp.addImage('app', { tag: '1', seed: 'corp' });
  await cache.cache.groups.unpin('all', 'app');
  expect([await pull(), await pull()]).toEqual([own.root.digest, own.root.digest]);

  // Another process gave it to somebody else, of which this one was not told.
  const { signal } = new AbortController();
  const record = { format: 1, repository: 'app', upstream: 'hub', pinnedAt: 1 };
  await store.metadata.set('pin/all/app', JSON.stringify(record), { signal });
  // In steps: what was under way at the store took as long as the clock went, which may have it left alone for a while.
  let seconds = 0;
  let digest = own.root.digest as string | undefined;
  for (; digest === own.root.digest && seconds < 300; seconds++) {
    await cache.clock.advance(1_000);
    digest = await pull();
  }
  expect(digest).toBe(open.root.digest);
  expect(seconds).toBeGreaterThanOrEqual(60);
});

test('pins are listed a page at a time', async () => {
  const { hub, cache } = await startGroup();
  for (const repository of ['a', 'b/c', 'd']) {
    hub.addImage(repository, { tag: '1' });
    await cache.get(path('manifests/1', repository));
  }
  const first = await cache.cache.groups.pins('all', { limit: 2 });
  expect(first.map(({ repository }) => repository)).toEqual(['a', 'b/c']);
  const rest = await cache.cache.groups.pins('all', { after: 'b/c' });
  expect(rest).toEqual([{ repository: 'd', upstream: 'hub', pinnedAt: cache.clock.now() }]);
});
