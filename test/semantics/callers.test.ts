import type { AccessQuestion, ProxyCacheOptions, UpstreamOptions } from '@proxycache/core';
import {
  type FakeUpstream,
  type FakeUpstreamOptions,
  gate,
  ociError,
  seededBytes,
  startFakeCdn,
} from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type CacheUnderTest, startCache, startUpstream } from './cache-under-test.ts';
import { startHost } from './expect-no-leak.ts';
import type { Got, RequestOptions } from './request.ts';
import { secretWatch } from './secret-watch.ts';

const callerKey = 'tells the callers of these tests apart';
const passwords = { alice: 'alice-password-4711', bob: 'bob-password-0815' };
type User = keyof typeof passwords;

const basic = (username: string, password: string) => ({
  headers: { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` },
});
const as = (user: User): RequestOptions => basic(user, passwords[user]);

/** Alice may pull team/secret, both may pull team/shared. */
const users = {
  alice: { password: passwords.alice, repositories: ['team/secret', 'team/shared'] },
  bob: { password: passwords.bob, repositories: ['team/shared'] },
};
const bearer = { bearer: { public: [], users } };
const byTokens: FakeUpstreamOptions = { auth: bearer };
const byBasic: FakeUpstreamOptions = {
  auth: { basic: { users } },
  personality: { refuse: (why) => (why === 'scope' ? ociError(403, 'DENIED', 'not yours') : undefined) },
};

interface World {
  upstream: FakeUpstream;
  cache: CacheUnderTest;
}

async function startWorld(
  options: Partial<UpstreamOptions> &
    Pick<ProxyCacheOptions, 'access'> & { others?: readonly UpstreamOptions[]; fake?: FakeUpstreamOptions } = {},
): Promise<World> {
  const { others = [], access, fake = byTokens, ...more } = options;
  const upstream = await startUpstream(fake);
  const upstreams = [{ key: 'private', url: upstream.url, credentials: 'caller' as const, ...more }, ...others];
  const cache = await startCache({ upstreams, callerKey, ...(access && { access }) });
  return { upstream, cache };
}

const manifest = (repository: string, reference: string, key = 'private') =>
  `/v2/${key}/${repository}/manifests/${reference}`;
const blob = (repository: string, digest: string, key = 'private') => `/v2/${key}/${repository}/blobs/${digest}`;
const stored = async (cache: CacheUnderTest, most = 1) =>
  expect
    .poll(() => cache.seen('ingest-ended').filter(({ outcome }) => outcome === 'stored').length)
    .toBeGreaterThanOrEqual(most);

/** All that an image can be read by. */
function paths(image: ReturnType<FakeUpstream['addImage']>, repository = 'team/secret', key = 'private'): string[] {
  return [
    manifest(repository, '1', key),
    manifest(repository, image.root.digest, key),
    blob(repository, image.config.digest, key),
    ...image.layers.map(({ digest }) => blob(repository, digest, key)),
  ];
}

async function pullAll({ cache }: World, all: readonly string[], how: RequestOptions): Promise<Got[]> {
  const got: Got[] = [];
  for (const path of all) got.push(await cache.get(path, how));
  return got;
}

const statuses = (got: readonly Got[]) => got.map(({ status }) => status);

describe('a request without a name and password', () => {
  test('is asked for them on every path, and its upstream hears nothing of it', async () => {
    const { upstream, cache } = await startWorld();
    const image = upstream.addImage('team/secret', { tag: '1' });
    const all = [
      '/v2/',
      ...paths(image),
      '/v2/private/team/secret/tags/list',
      `/v2/private/team/secret/referrers/${image.root.digest}`,
    ];
    for (const path of all) {
      for (const method of ['get', 'head'] as const) {
        const got = await cache[method](path);
        expect([path, got.status, got.headers['www-authenticate']]).toEqual([path, 401, 'Basic realm="private"']);
      }
      expect((await cache.get(path)).errorCode).toBe('UNAUTHORIZED');
    }
    expect(upstream.requests).toEqual([]);
  });

  test.each([
    ['of another scheme', 'Bearer abc'],
    ['that is no base64', 'Basic a*b'],
    ['without a colon', `Basic ${Buffer.from('alice').toString('base64')}`],
    ['without a name', `Basic ${Buffer.from(':x').toString('base64')}`],
    ['without a password', `Basic ${Buffer.from('alice:').toString('base64')}`],
    ['of bytes that are no text', `Basic ${Buffer.from([0x61, 0x3a, 0xff]).toString('base64')}`],
    ['that is too long', `Basic ${Buffer.from(`alice:${'x'.repeat(7000)}`).toString('base64')}`],
  ])('has none in a header %s', async (_, authorization) => {
    const { upstream, cache } = await startWorld();
    const got = await cache.get(manifest('team/secret', '1'), { headers: { authorization } });
    expect([got.status, got.headers['www-authenticate']]).toEqual([401, 'Basic realm="private"']);
    expect(upstream.requests).toEqual([]);
  });

  test('is answered as ever at an upstream with a credential of its own', async () => {
    const open = await startUpstream();
    const image = open.addImage('team/secret', { tag: '1' });
    const world = await startWorld({ others: [{ key: 'open', url: open.url }] });
    expect(statuses(await pullAll(world, paths(image, 'team/secret', 'open'), {}))).toEqual(
      paths(image).map(() => 200),
    );
    expect(open.requests.some(({ headers }) => headers.authorization !== undefined)).toBe(false);
  });
});

describe('a login', () => {
  test('at /v2/ is checked by the upstream that it is for', async () => {
    const { cache } = await startWorld();
    expect((await cache.get('/v2/', as('alice'))).status).toBe(200);
    const wrong = await cache.get('/v2/', basic('alice', 'wrong'));
    expect([wrong.status, wrong.headers['www-authenticate']]).toEqual([401, 'Basic realm="private"']);
  });

  test('is not asked for where the default upstream needs none', async () => {
    const open = await startUpstream();
    const upstream = await startUpstream({ auth: bearer });
    const upstreams: UpstreamOptions[] = [
      { key: 'private', url: upstream.url, credentials: 'caller', hosts: ['private.test'] },
      { key: 'open', url: open.url },
    ];
    const cache = await startCache({ upstreams, callerKey, defaultUpstream: 'open' });
    expect((await cache.get('/v2/')).status).toBe(200);
    const byHost = await cache.get('/v2/', { headers: { host: 'private.test' } });
    expect([byHost.status, byHost.headers['www-authenticate']]).toEqual([401, 'Basic realm="private"']);
  });

  test('of which it is not known for which upstream it is reaches none of them', async () => {
    const second = await startUpstream({ auth: bearer });
    const { upstream, cache } = await startWorld({
      others: [{ key: 'second', url: second.url, credentials: 'caller' }],
    });
    expect((await cache.get('/v2/')).headers['www-authenticate']).toBe('Basic realm="proxycache"');
    expect((await cache.get('/v2/', as('alice'))).status).toBe(200);
    expect([...upstream.requests, ...second.requests]).toEqual([]);
  });
});

describe.each([
  ['by tokens', byTokens],
  ['by Basic', byBasic],
])('what one caller pulled of an upstream that knows its users %s', (_, fake) => {
  test('another one with the right reads after a HEAD of each, without a second download', async () => {
    const world = await startWorld({ fake });
    const image = world.upstream.addImage('team/shared', { tag: '1' });
    const all = paths(image, 'team/shared');
    expect(new Set(statuses(await pullAll(world, all, as('alice'))))).toEqual(new Set([200]));
    await stored(world.cache, image.layers.length + 1);
    world.upstream.clear();
    expect(new Set(statuses(await pullAll(world, all.slice(1), as('bob'))))).toEqual(new Set([200]));
    expect(world.upstream.count({ method: 'GET', path: /\/(blobs|manifests)\// })).toBe(0);
    world.upstream.clear();
    await pullAll(world, all.slice(1), as('bob'));
    expect(world.upstream.requests).toEqual([]);
  });

  test('is not readable to one without the right: by tag, by digest, by blob, by HEAD, in parts', async () => {
    const world = await startWorld({ fake });
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    const all = paths(image);
    await pullAll(world, all, as('alice'));
    await stored(world.cache, image.layers.length + 1);
    expect(statuses(await pullAll(world, all, as('bob')))).toEqual(all.map(() => 403));
    for (const path of all) expect((await world.cache.head(path, as('bob'))).status).toBe(403);
    const part = { headers: { ...as('bob').headers, range: 'bytes=0-3' } };
    expect((await world.cache.get(all.at(-1)!, part)).status).toBe(403);
    const { digest } = image.root;
    expect((await world.cache.get(`/v2/private/team/secret/referrers/${digest}`, as('bob'))).status).toBe(403);
    expect((await world.cache.get('/v2/private/team/secret/tags/list', as('bob'))).status).toBe(403);
    // Nor through a repository that is his.
    expect(statuses(await pullAll(world, paths(image, 'team/shared').slice(1), as('bob')))).not.toContain(200);
  });

  test('leaves its next pull as it was, whatever another one was told', async () => {
    const world = await startWorld({ fake });
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    const all = paths(image);
    await pullAll(world, all, as('alice'));
    await pullAll(world, all, as('bob'));
    world.upstream.clear();
    expect(new Set(statuses(await pullAll(world, all, as('alice'))))).toEqual(new Set([200]));
    expect(world.upstream.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'HEAD /v2/team/secret/manifests/1',
    ]);
  });

  test('is not readable through another upstream', async () => {
    const open = await startUpstream();
    open.addImage('team/secret', { tag: '1', seed: 'another' });
    const world = await startWorld({ fake, others: [{ key: 'open', url: open.url }] });
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    await pullAll(world, paths(image), as('alice'));
    await stored(world.cache, image.layers.length + 1);
    const elsewhere = paths(image, 'team/secret', 'open').slice(1);
    expect(statuses(await pullAll(world, elsewhere, as('alice')))).toEqual(elsewhere.map(() => 404));
    expect(open.requests.some(({ headers }) => headers.authorization !== undefined)).toBe(false);
  });

  test('is not readable while it comes in', async () => {
    const world = await startWorld({ fake });
    const bytes = Buffer.from(seededBytes('coming', 3 * 1024 * 1024));
    const digest = world.upstream.putBlob('team/secret', bytes);
    world.upstream.putBlob('team/shared', bytes);
    // So that it is known what is asked for at the upstream.
    expect((await world.cache.get('/v2/', as('alice'))).status).toBe(200);
    const held = gate();
    world.upstream.on({ method: 'GET', path: /\/blobs\//, times: 1 }, { gate: held });
    const alice = world.cache.get(blob('team/secret', digest), as('alice'));
    await held.reached;
    expect((await world.cache.get(blob('team/secret', digest), as('bob'))).status).toBe(403);
    expect((await world.cache.head(blob('team/secret', digest), as('bob'))).status).toBe(403);
    // Through a repository that is his it is the same transfer.
    const bob = world.cache.get(blob('team/shared', digest), as('bob'));
    await expect.poll(() => world.upstream.count({ method: 'HEAD', path: /team\/shared/ })).toBe(1);
    held.open();
    expect((await alice).body.equals(bytes)).toBe(true);
    expect((await bob).body.equals(bytes)).toBe(true);
    expect(world.upstream.count({ method: 'GET', path: /team\/shared\/blobs\// })).toBe(0);
  });

  test('is not readable with the upstream stopped, and is to who pulled it', async () => {
    const world = await startWorld({ fake, breaker: { failures: 1_000 } });
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    const all = paths(image);
    await pullAll(world, all, as('alice'));
    await stored(world.cache, image.layers.length + 1);
    await world.upstream.stop();
    expect(statuses(await pullAll(world, all, as('bob')))).toEqual(all.map(() => 502));
    expect(new Set(statuses(await pullAll(world, all, as('alice'))))).toEqual(new Set([200]));
    expect((await world.cache.get('/v2/private/team/secret/tags/list', as('bob'))).status).toBe(502);
    const list = await world.cache.get('/v2/private/team/secret/tags/list', as('alice'));
    expect(JSON.parse(list.body.toString()).tags).toEqual(['1']);
  });

  test('is not found by code of the host, which has no caller', async () => {
    const world = await startWorld({ fake });
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    await pullAll(world, paths(image), as('alice'));
    for (const asking of [
      world.cache.cache.has('private/team/secret:1'),
      world.cache.cache.resolve('private/team/secret:1'),
    ]) {
      await expect(asking).rejects.toMatchObject({ code: 'unauthenticated', message: /credentials/ });
    }
  });
});

describe('what the upstream said to a caller', () => {
  const hour = 60 * 60_000;

  test('holds for an hour, then it costs a HEAD of each', async () => {
    const world = await startWorld();
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    const all = paths(image);
    await pullAll(world, all, as('alice'));
    await stored(world.cache, image.layers.length + 1);
    await world.cache.clock.advance(hour + 1);
    // So that it is not asked for by a first request to each.
    await world.cache.get('/v2/', as('alice'));
    world.upstream.clear();
    expect(new Set(statuses(await pullAll(world, all, as('alice'))))).toEqual(new Set([200]));
    const asked = () => world.upstream.requests.filter(({ path }) => path.startsWith('/v2/team/'));
    expect(new Set(asked().map(({ method }) => method))).toEqual(new Set(['HEAD']));
    world.upstream.clear();
    await pullAll(world, all, as('alice'));
    expect(asked().map(({ path }) => path)).toEqual(['/v2/team/secret/manifests/1']);
  });

  test('is asked for anew half-way where a tag is pulled again and again', async () => {
    const world = await startWorld({ breaker: { failures: 1_000 } });
    world.upstream.addImage('team/secret', { tag: '1' });
    for (let i = 0; i < 4; i++) {
      expect((await world.cache.get(manifest('team/secret', '1'), as('alice'))).status).toBe(200);
      await world.cache.clock.advance(hour * 0.6);
    }
    await world.upstream.stop();
    expect((await world.cache.get(manifest('team/secret', '1'), as('alice'))).status).toBe(200);
  });

  test.each(['normal', 'local-first'] as const)(
    'is no word any more after an hour of outage: refused, and not as absent (mode %s)',
    async (mode) => {
      const world = await startWorld({ breaker: { failures: 1_000 }, mode });
      const image = world.upstream.addImage('team/secret', { tag: '1' });
      const { digest } = image.root;
      const all = [...paths(image), `/v2/private/team/secret/referrers/${digest}`, '/v2/private/team/secret/tags/list'];
      await pullAll(world, all, as('alice'));
      await stored(world.cache, image.layers.length + 1);
      await world.upstream.stop();
      expect(new Set(statuses(await pullAll(world, all, as('alice'))))).toEqual(new Set([200]));
      await world.cache.clock.advance(hour + 1);
      expect(new Set(statuses(await pullAll(world, all, as('alice'))))).toEqual(new Set([502]));
      for (const path of paths(image)) expect((await world.cache.head(path, as('alice'))).status).toBe(502);
    },
  );

  test('is good enough with serveUnproven, while the upstream cannot say, for who it was said to', async () => {
    const world = await startWorld({ breaker: { failures: 1_000 }, serveUnproven: true });
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    const all = paths(image);
    await pullAll(world, all, as('alice'));
    await stored(world.cache, image.layers.length + 1);
    await world.upstream.stop();
    await world.cache.clock.advance(hour + 1);
    expect(new Set(statuses(await pullAll(world, all, as('alice'))))).toEqual(new Set([200]));
    for (const path of all) expect((await world.cache.head(path, as('alice'))).status).toBe(200);
    expect(new Set(statuses(await pullAll(world, all, as('bob'))))).toEqual(new Set([502]));
  });

  test('is not good enough with serveUnproven where the upstream says no', async () => {
    const world = await startWorld({ serveUnproven: true });
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    const all = paths(image);
    await pullAll(world, all, as('alice'));
    await stored(world.cache, image.layers.length + 1);
    await world.cache.clock.advance(hour + 1);
    world.upstream.change({
      auth: { bearer: { public: [], users: { alice: { password: passwords.alice, repositories: [] } } } },
    });
    expect(new Set(statuses(await pullAll(world, all, as('alice'))))).toEqual(new Set([403]));
    world.upstream.change({ auth: { bearer: { public: [], users: {} } } });
    await world.cache.clock.advance(6_000);
    expect(new Set(statuses(await pullAll(world, all, as('alice'))))).toEqual(new Set([401]));
  });
});

describe('a wrong password', () => {
  test('is told with the challenge, is not sent again at once, and is nobody else’s', async () => {
    const world = await startWorld();
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    await pullAll(world, paths(image), as('alice'));
    world.upstream.clear();
    for (let i = 0; i < 3; i++) {
      const got = await world.cache.get(manifest('team/secret', '1'), basic('alice', 'wrong'));
      expect([got.status, got.headers['www-authenticate']]).toEqual([401, 'Basic realm="private"']);
    }
    expect(world.upstream.tokenCalls()).toBe(1);
    expect((await world.cache.get(manifest('team/secret', '1'), as('alice'))).status).toBe(200);
    await world.cache.clock.advance(5_000);
    await world.cache.get(manifest('team/secret', '1'), basic('alice', 'wrong'));
    expect(world.upstream.tokenCalls()).toBe(2);
  });

  test('is not guessed through the cache, and who has the right one goes on', async () => {
    const world = await startWorld();
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    await pullAll(world, paths(image), as('alice'));
    world.upstream.clear();
    const guesses: number[] = [];
    for (let i = 0; i < 20; i++) {
      guesses.push((await world.cache.get(manifest('team/secret', '1'), basic('alice', `guess ${i}`))).status);
    }
    expect(guesses.slice(0, 5)).toEqual([401, 401, 401, 401, 401]);
    expect(new Set(guesses.slice(5))).toEqual(new Set([429]));
    expect(world.upstream.tokenCalls()).toBe(5);
    expect((await world.cache.get(manifest('team/secret', '1'), as('alice'))).status).toBe(200);
    expect((await world.cache.get(manifest('team/shared', '1'), as('bob'))).status).toBe(404);
  });
});

describe('beside users of the host’s own', () => {
  test('a login for the upstream is not theirs, and what they may do is asked all the same', async () => {
    const asked: AccessQuestion[] = [];
    const world = await startWorld({
      access: {
        anonymous: false,
        authenticate() {
          throw new Error('asked who somebody is that is not its own');
        },
        authorize(question) {
          asked.push(question);
          return question.repository === 'team/secret' || { allow: false, reason: 'not for this cache' };
        },
      },
    });
    const image = world.upstream.addImage('team/secret', { tag: '1' });
    world.upstream.addImage('team/shared', { tag: '1' });
    expect(new Set(statuses(await pullAll(world, paths(image), as('alice'))))).toEqual(new Set([200]));
    expect(new Set(asked.map(({ identity, upstream }) => JSON.stringify([identity, upstream])))).toEqual(
      new Set(['[null,"private"]']),
    );
    const refused = await world.cache.get(manifest('team/shared', '1'), as('bob'));
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([403, undefined]);
    const nobody = await world.cache.get(manifest('team/secret', '1'));
    expect([nobody.status, nobody.headers['www-authenticate']]).toEqual([401, 'Basic realm="private"']);
    expect((await world.cache.get('/v2/', as('alice'))).status).toBe(503);
    expect(world.cache.seen('pull').at(-2)).toMatchObject({ decision: 'unauthenticated', status: 401 });
  });
});

describe('23, 24: a caller’s credential goes to its upstream and the token hosts of that, and no further', () => {
  test('not to a token service that is not paired with it, which is asked as by nobody', async () => {
    const at = await startHost();
    const world = await startWorld({ fake: { auth: { bearer: { ...bearer.bearer, at } } } });
    world.upstream.addImage('team/secret', { tag: '1' });
    expect((await world.cache.get(manifest('team/secret', '1'), as('alice'))).status).toBe(403);
    expect(at.requests.length).toBeGreaterThan(0);
    const said = [...at.requests, ...world.upstream.requests].map(({ headers }) => headers.authorization ?? '');
    expect(said.filter((header) => header.startsWith('Basic'))).toEqual([]);
    expect(JSON.stringify(at.requests)).not.toContain(passwords.alice);
  });

  test('to one that is paired with it', async () => {
    const at = await startHost();
    const world = await startWorld({
      fake: { auth: { bearer: { ...bearer.bearer, at } } },
      tokenHosts: [at.host],
    });
    world.upstream.addImage('team/secret', { tag: '1' });
    expect((await world.cache.get(manifest('team/secret', '1'), as('alice'))).status).toBe(200);
    expect((await world.cache.get(manifest('team/secret', '1'), as('bob'))).status).toBe(403);
  });

  test('not to where a redirect leads', async () => {
    const cdn = await startFakeCdn();
    onTestFinished(() => cdn.stop());
    for (const fake of [byBasic, byTokens]) {
      const world = await startWorld({ fake: { ...fake, redirectBlobsTo: cdn } });
      const image = world.upstream.addImage('team/secret', { tag: '1' });
      expect(new Set(statuses(await pullAll(world, paths(image), as('alice'))))).toEqual(new Set([200]));
    }
    expect(cdn.requests.length).toBeGreaterThan(0);
    expect(cdn.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
  });
});

test('no credential of a caller is stored or told, nor sent to anybody but its upstream', async () => {
  const open = await startUpstream();
  open.addImage('team/shared', { tag: '1' });
  const world = await startWorld({ others: [{ key: 'open', url: open.url }] });
  const image = world.upstream.addImage('team/secret', { tag: '1' });
  const watch = secretWatch();
  for (const user of ['alice', 'bob'] as const) {
    for (const got of await pullAll(world, paths(image), as(user))) watch.saw('an answer', [got.headers, got.body]);
  }
  watch.saw('an answer', await world.cache.get(manifest('team/secret', '1'), basic('alice', 'wrong-password-1234')));
  await world.cache.get(manifest('team/shared', '1', 'open'), as('alice'));
  await stored(world.cache, image.layers.length + 1);
  await world.upstream.stop();
  watch.saw('an answer', await world.cache.get(manifest('team/secret', '2'), as('alice')));
  await world.cache.cache.close({ graceMs: 0 });
  watch.saw('events', world.cache.events);
  watch.sawFiles(world.cache.directory);
  watch.sawRequests('another upstream', open);
  const pairs = Object.entries(passwords).map(([user, password]) => `${user}:${password}`);
  expect(watch.leaks([...Object.values(passwords), ...pairs, 'wrong-password-1234', callerKey])).toEqual([]);
  expect(watch.count()).toBeGreaterThan(10);
});
