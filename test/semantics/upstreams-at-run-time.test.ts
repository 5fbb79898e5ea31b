import { setImmediate } from 'node:timers/promises';
import { isProxyCacheError, type UpstreamAuth } from '@proxycache/core';
import { chunkGate, gate } from '@proxycache/test-kit';
import { describe, expect, test, vi } from 'vitest';
import { type CacheUnderTest, digestOfBody, startCache, startPair, startUpstream } from './cache-under-test.ts';
import { clientStyles, pullImage } from './pull-image.ts';
import { secretWatch } from './secret-watch.ts';

const hub = { username: 'reader', password: 'pass-word-of-the-hub' };

/** A cache with an image at its upstream `up`, and another registry that it does not know yet. */
async function startWithOther() {
  const { upstream, cache } = await startPair();
  const other = await startUpstream();
  upstream.addImage('team/app', { tag: '1', seed: 'the first' });
  const image = other.addImage('team/app', { tag: '1', seed: 'the other' });
  return { upstream, other, image, cache };
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error) => (isProxyCacheError(error) ? error.code : error),
  );

describe('48: an upstream at run time', () => {
  test('is added, served, listed and removed, and then its key is 404', async () => {
    const { cache, other, image } = await startWithOther();
    expect((await cache.get('/v2/new/team/app/manifests/1')).status).toBe(404);
    await cache.cache.upstreams.add({ key: 'new', url: other.url, freshFor: '1h' });
    const got = await cache.get('/v2/new/team/app/manifests/1');
    expect(got.headers['docker-content-digest']).toBe(image.root.digest);
    expect(cache.cache.upstreams.status().map(({ key }) => key)).toEqual(['up', 'new']);
    expect(cache.cache.upstreams.list().map(({ key, origin, revision }) => [key, origin, revision])).toEqual([
      ['up', 'options', 0],
      ['new', 'added', 1],
    ]);
    // Also what is in memory by now.
    expect((await cache.get('/v2/new/team/app/manifests/1')).headers['cache-status']).toContain('hit');
    await cache.cache.upstreams.remove('new');
    expect((await cache.get('/v2/new/team/app/manifests/1')).errorCode).toBe('NAME_UNKNOWN');
    expect(cache.cache.upstreams.list().map(({ key }) => key)).toEqual(['up']);
    expect(cache.seen('upstream-changed').map(({ upstream, change, origin }) => [upstream, change, origin])).toEqual([
      ['new', 'added', 'here'],
      ['new', 'removed', 'here'],
    ]);
  });

  test('is changed in what is named, and what is undefined or null goes back to its default', async () => {
    const { cache, upstream } = await startPair({ freshFor: '1h', absentFor: '1h', hosts: ['a.example'] });
    upstream.addImage('team/app', { tag: '1' });
    await cache.get('/v2/up/team/app/manifests/1');
    await cache.get('/v2/up/team/app/manifests/1');
    const before = upstream.requests.length;
    await cache.cache.upstreams.update('up', { freshFor: null, absentFor: undefined, deniedMayMeanAbsent: true });
    expect(cache.cache.upstreams.list()).toEqual([
      {
        ...{ key: 'up', url: upstream.url, hosts: ['a.example'], retry: { attempts: 1 } },
        ...{ deniedMayMeanAbsent: true, auth: { kind: 'anonymous' }, origin: 'options', revision: 1 },
      },
    ]);
    await cache.get('/v2/up/team/app/manifests/1');
    expect(upstream.requests.length).toBe(before + 1);
  });

  test('keeps what its client has learnt where nothing of the client changes', async () => {
    const { cache, upstream } = await startPair({ breaker: { failures: 1, openFor: '1h', maxOpenFor: '1h' } });
    upstream.addImage('team/app', { tag: '1' });
    upstream.on({}, { status: 500 });
    await cache.get('/v2/up/team/app/manifests/1');
    await cache.cache.upstreams.update('up', { freshFor: '1h' });
    expect(cache.cache.upstreams.status()[0]?.state).toBe('open');
    await cache.cache.upstreams.update('up', { timeouts: { connect: '1s' } });
    expect(cache.cache.upstreams.status()[0]?.state).toBe('closed');
  });

  test('changes its mode for all that is asked from then on, twice too, and keeps its client', async () => {
    const { cache, upstream } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    await cache.get('/v2/up/team/app/manifests/1');
    const asked = upstream.requests.length;
    await cache.cache.upstreams.update('up', { mode: 'local-first' });
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    await cache.cache.upstreams.update('up', { mode: 'offline' });
    expect((await cache.get('/v2/up/team/app/manifests/2')).status).toBe(504);
    expect(cache.cache.upstreams.status()[0]?.mode).toBe('offline');
    expect(upstream.requests.length).toBe(asked);
    await cache.cache.upstreams.update('up', { mode: null });
    expect((await cache.get('/v2/up/team/app/manifests/2')).status).toBe(404);
    expect(upstream.connections()).toEqual({ open: 1, accepted: 1 });
  });

  test('that is given another URL is asked there, and what the old one proved is no proof', async () => {
    const { cache, upstream, other, image } = await startWithOther();
    const before = await cache.get('/v2/up/team/app/manifests/1');
    await cache.cache.upstreams.update('up', { url: other.url, freshFor: '1h' });
    const asked = upstream.requests.length;
    expect((await cache.get('/v2/up/team/app/manifests/1')).headers['docker-content-digest']).toBe(image.root.digest);
    const digest = before.headers['docker-content-digest'];
    expect((await cache.get(`/v2/up/team/app/manifests/${digest}`)).errorCode).toBe('MANIFEST_UNKNOWN');
    expect(upstream.requests.length).toBe(asked);
  });

  test('answers for its hosts from then on, and no longer than that', async () => {
    const { cache, other, image } = await startWithOther();
    const path = '/v2/team/app/manifests/1?ns=new.example';
    expect((await cache.get(path)).status).toBe(404);
    await cache.cache.upstreams.add({ key: 'new', url: other.url, hosts: ['new.example'] });
    expect((await cache.get(path)).headers['docker-content-digest']).toBe(image.root.digest);
    await cache.cache.upstreams.update('new', { hosts: [] });
    expect((await cache.get(path)).status).toBe(404);
  });

  test('that was removed keeps its key from the default upstream, until it is added again', async () => {
    const { upstream, cache } = await startPair({ cache: { defaultUpstream: 'up' } });
    upstream.addImage('corp/app', { tag: '1', seed: 'an impostor' });
    const corp = await startUpstream();
    const image = corp.addImage('app', { tag: '1', seed: 'the private one' });
    await cache.cache.upstreams.add({ key: 'corp', url: corp.url });
    await cache.cache.upstreams.remove('corp');
    for (const path of [
      '/v2/corp/app/manifests/1',
      `/v2/corp/app/blobs/${image.root.digest}`,
      '/v2/corp/app/tags/list',
    ]) {
      expect((await cache.get(path)).errorCode).toBe('NAME_UNKNOWN');
    }
    expect(upstream.requests).toEqual([]);
    await cache.cache.upstreams.add({ key: 'corp', url: corp.url });
    expect((await cache.get('/v2/corp/app/manifests/1')).status).toBe(200);
  });

  test('that is the default and is removed leaves names without a key to nobody', async () => {
    const { upstream, cache } = await startPair({ cache: { defaultUpstream: 'up' } });
    upstream.addImage('team/app', { tag: '1' });
    await cache.cache.upstreams.remove('up');
    expect((await cache.get('/v2/team/app/manifests/1')).errorCode).toBe('NAME_UNKNOWN');
    expect((await cache.get('/v2/')).status).toBe(200);
  });

  test('with callers’ credentials asks for them from then on', async () => {
    const { cache, other } = await startWithOther();
    await cache.cache.upstreams.add({ key: 'new', url: other.url, credentials: 'caller' });
    const got = await cache.get('/v2/new/team/app/manifests/1');
    expect([got.status, got.headers['www-authenticate']]).toEqual([401, 'Basic realm="new"']);
    await cache.cache.upstreams.remove('new');
    expect((await cache.get('/v2/new/team/app/manifests/1')).status).toBe(404);
  });
});

describe('48: a change of an upstream', () => {
  test('that is refused changes nothing', async () => {
    const { cache, other } = await startWithOther();
    const { upstreams } = cache.cache;
    const before = upstreams.list();
    const refused = [
      upstreams.add({ key: 'up', url: other.url }),
      upstreams.add({ key: 'Up', url: other.url }),
      upstreams.add({ key: 'new', url: 'ftp://new.example' }),
      upstreams.update('up', { url: null }),
      upstreams.update('up', { freshfor: '1h' } as never),
      upstreams.update('up', { key: 'other' } as never),
      upstreams.update('up', 'freshFor' as never),
      upstreams.update('none', { freshFor: '1h' }),
      upstreams.remove('none'),
    ];
    expect(await Promise.all(refused.map(codeOf))).toEqual([
      'upstream-exists',
      ...Array.from({ length: 6 }, () => 'invalid-options'),
      'name-unknown',
      'name-unknown',
    ]);
    expect(upstreams.list()).toEqual(before);
    expect(cache.seen('upstream-changed')).toEqual([]);
  });

  test('is none where somebody writes into the list that he was given', async () => {
    const { cache, other } = await startWithOther();
    const { upstreams } = cache.cache;
    await upstreams.add({ key: 'new', url: other.url, hosts: ['one.example'] });
    (upstreams.list()[1]!.hosts as string[]).push('two.example');
    await upstreams.update('new', { freshFor: '1h' });
    expect(upstreams.list()[1]).toMatchObject({ hosts: ['one.example'] });
    expect((await cache.get('/v2/team/app/manifests/1?ns=two.example')).status).toBe(404);
  });

  test('of a key that the options reserve is refused', async () => {
    const { cache, upstream } = await startPair({ cache: { reservedKeys: ['gone'] } });
    await expect(cache.cache.upstreams.add({ key: 'gone', url: upstream.url })).rejects.toThrow(
      'upstream.key: expected a key that is not one of reservedKeys, received "gone"',
    );
  });

  test('is refused once the cache is closed', async () => {
    const { cache, upstream } = await startPair();
    await cache.cache.close();
    expect(await codeOf(cache.cache.upstreams.add({ key: 'new', url: upstream.url }))).toBe('closed');
  });

  test('takes nothing from pulls and transfers that run', async () => {
    const { cache, other } = await startWithOther();
    const slow = await startUpstream();
    const image = slow.addImage('team/app', { tag: '1', seed: 'slow', layerSizes: [3 * 1024 * 1024] });
    const layer = image.layers[0] as { digest: string };
    const [sending, asked] = [chunkGate(64 * 1024), gate()];
    slow.on({ method: 'GET', digest: layer.digest }, { throttle: sending });
    slow.on({ path: /\/manifests\//, times: 1 }, { gate: asked });
    await cache.cache.upstreams.add({ key: 'slow', url: slow.url });
    const blob = `/v2/slow/team/app/blobs/${layer.digest}`;
    const running = [cache.get(blob), cache.get(blob)];
    const manifest = cache.get('/v2/slow/team/app/manifests/1');
    sending.allow(4);
    await asked.reached;
    await vi.waitFor(() => expect(cache.seen('ingest-started')).toHaveLength(1), 60_000);
    await cache.cache.upstreams.update('slow', { url: other.url });
    await cache.cache.upstreams.remove('slow');
    asked.open();
    sending.open();
    expect((await manifest).headers['docker-content-digest']).toBe(image.root.digest);
    for (const got of await Promise.all(running)) expect(digestOfBody(got.body)).toBe(layer.digest);
    expect((await cache.get(blob)).status).toBe(404);
  });

  test('fails no pull of many that run while it is given ever other URLs', async () => {
    const { cache, upstream, other } = await startWithOther();
    const tags = Array.from({ length: 24 }, (_, index) => `t${index}`);
    for (const tag of tags) for (const one of [upstream, other]) one.addImage('many/app', { tag, seed: tag });
    let isOver = false;
    const pulls = Promise.all(
      tags.map((tag, index) => pullImage(cache, { path: '/v2/up/many/app', tag }, clientStyles[index % 2])),
    ).finally(() => {
      isOver = true;
    });
    let changes = 0;
    for (; !isOver || changes < 2; changes++) {
      const url = [other.url, upstream.url][changes % 2] as string;
      await cache.cache.upstreams.update('up', { url, timeouts: { connect: `${(changes % 7) + 5}s` } });
      await setImmediate();
    }
    expect((await pulls).map(({ status }) => status)).toEqual(tags.map(() => 200));
    expect([upstream.requests.length > 0, other.requests.length > 0]).toEqual([true, true]);
  });

  test('lets nobody pull what he was not let in to, when a name means another upstream by then', async () => {
    const [one, two] = [await startUpstream(), await startUpstream()];
    const image = two.addImage('team/app', { tag: '1', seed: 'not for everybody' });
    one.addImage('team/app', { tag: '1' });
    const cache: CacheUnderTest = await startCache({
      upstreams: [
        { key: 'one', url: one.url, hosts: ['x.example'] },
        { key: 'two', url: two.url },
      ],
      access: {
        async authorize({ upstream }) {
          if (upstream !== 'one') return { allow: false, reason: 'not for you' };
          await cache.cache.upstreams.update('one', { hosts: [] });
          await cache.cache.upstreams.update('two', { hosts: ['x.example'] });
          return { allow: true };
        },
      },
    });
    for (const status of [503, 403]) {
      const got = await cache.get('/v2/team/app/manifests/1?ns=x.example');
      expect([got.status, got.headers['docker-content-digest'] === image.root.digest]).toEqual([status, false]);
    }
    expect(two.requests).toEqual([]);
  });

  test('leaves no connection to where nothing is asked any more', async () => {
    const { cache, upstream, other } = await startWithOther();
    await cache.get('/v2/up/team/app/manifests/1');
    expect(upstream.connections().open).toBe(1);
    await cache.cache.upstreams.update('up', { url: other.url });
    await cache.clock.advance(31_000);
    await vi.waitFor(() => expect(upstream.connections().open).toBe(0), 60_000);
  });
});

describe('a secret of an upstream', () => {
  test('goes nowhere else unless it is given again in the same change', async () => {
    const { cache, other } = await startWithOther();
    const { upstreams } = cache.cache;
    await upstreams.add({ key: 'new', url: other.url, auth: hub });
    const moves = [
      { url: 'https://elsewhere.example' },
      { endpoints: ['https://elsewhere.example'] },
      { tls: { insecure: true } },
      { proxy: 'http://elsewhere.example:3128' },
      { tokenHosts: ['elsewhere.example'] },
    ];
    for (const move of moves) expect(await codeOf(upstreams.update('new', move))).toBe('secret-required');
    expect(upstreams.list()[1]).toMatchObject({ url: other.url, revision: 1 });
    // The same again is no change.
    await upstreams.update('new', { url: other.url, freshFor: '1m' });
    for (const move of moves) await upstreams.update('new', { ...move, auth: hub });
    await upstreams.update('new', { auth: 'anonymous' });
    await upstreams.update('new', { url: other.url });
    expect(upstreams.list()[1]).toMatchObject({ url: other.url, auth: { kind: 'anonymous' } });
  });

  test('stays where an update does not move it, whatever the options left undefined', async () => {
    const none = undefined as never;
    const { cache, upstream } = await startPair({
      auth: hub,
      fake: { auth: { basic: hub } },
      tls: { ca: none, insecure: none, cert: none, key: none },
      endpoints: [{ url: 'http://127.0.0.1:9', auth: none, tls: none }],
      cache: { persistUpstreams: {} },
    });
    upstream.addImage('team/app', { tag: '1' });
    const { upstreams } = cache.cache;
    await upstreams.update('up', { mode: 'local-first' });
    expect(cache.seen('upstream-changed')).toMatchObject([{ upstream: 'up', change: 'updated' }]);
    // Of what is stored, all else is as the options say it.
    await cache.restart();
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    expect(cache.cache.upstreams.list()).toMatchObject([{ key: 'up', mode: 'local-first', revision: 1 }]);
  });

  test('that a helper gives is not that of another registry by its source host alone', async () => {
    const { cache, other } = await startWithOther();
    const { upstreams } = cache.cache;
    await upstreams.add({ key: 'new', url: other.url, auth: { helper: 'desktop' } });
    expect(await codeOf(upstreams.update('new', { hosts: ['docker.io'] }))).toBe('secret-required');
    await upstreams.update('new', { hosts: ['docker.io'], auth: { helper: 'desktop' } });
    expect(upstreams.list()[1]).toMatchObject({ hosts: ['docker.io'] });
  });

  test('is in no list, event or error', async () => {
    const { cache, other } = await startWithOther();
    const watch = secretWatch();
    const key = '-----BEGIN PRIVATE KEY-----\nkey-of-the-client\n-----END PRIVATE KEY-----';
    const cert = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----';
    const { upstreams } = cache.cache;
    const auths: UpstreamAuth[] = [hub, { token: 'token-of-the-hub' }, async () => hub];
    for (const auth of auths) {
      await upstreams.add({
        ...{ key: 'new', url: other.url, auth },
        proxy: 'http://user:pass-of-the-proxy@proxy.example:3128',
        endpoints: [{ url: other.url, auth: { token: 'token-of-an-endpoint' } }],
      });
      watch.saw('the list', upstreams.list());
      for (const change of [{ url: 'ftp://x' }, { tls: { key } }, { url: 'https://x.example' }]) {
        watch.saw('an error', await upstreams.update('new', change as never).catch((error) => error));
      }
      watch.saw('an error', await upstreams.add({ key: 'new', url: other.url, auth }).catch((error) => error));
      await upstreams.remove('new');
    }
    expect(upstreams.list()).toHaveLength(1);
    watch.saw('the events', cache.events);
    watch.saw('the certificate', cert);
    expect(
      watch.leaks([hub.password, 'token-of-the-hub', 'pass-of-the-proxy', 'token-of-an-endpoint', 'key-of-the-client']),
    ).toEqual([]);
  });
});
