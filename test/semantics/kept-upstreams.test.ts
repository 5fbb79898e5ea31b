import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isProxyCacheError, memoryStorage, type PersistUpstreamsOptions, type Storage } from '@proxycache/core';
import { flakyStore } from '@proxycache/test-kit';
import { describe, expect, test, vi } from 'vitest';
import { type CacheUnderTest, startCache, startUpstream } from './cache-under-test.ts';
import { secretWatch } from './secret-watch.ts';

const hub = { username: 'reader', password: 'pass-word-of-the-hub' };
const encryptionKey = createHash('sha256').update('a key of the tests').digest();
const generous = { timeout: 60_000, interval: 10 };

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error) => (isProxyCacheError(error) ? error.code : error),
  );

/** A cache that keeps its upstreams, whose options name `up`, and a registry that wants a password. */
async function startKept(persistUpstreams: PersistUpstreamsOptions = { encryptionKey }) {
  const [first, secret] = [await startUpstream(), await startUpstream({ auth: { basic: hub } })];
  first.addImage('team/app', { tag: '1', seed: 'of up' });
  const image = secret.addImage('team/app', { tag: '1', seed: 'of the private one' });
  const cache = await startCache({
    upstreams: [{ key: 'up', url: first.url }],
    defaultUpstream: 'up',
    persistUpstreams,
  });
  return { first, secret, image, cache };
}

const shown = (cache: CacheUnderTest) =>
  cache.cache.upstreams.list().map(({ key, origin, revision }) => [key, origin, revision]);

/** Puts another value into the record of an upstream, as somebody would who can write the store. */
async function rewrite({ metadata }: Storage, key: string, change: (record: Record<string, unknown>) => unknown) {
  const signal = AbortSignal.timeout(60_000);
  const found = await metadata.get(`upstreams/${key}`, { signal });
  await metadata.set(`upstreams/${key}`, JSON.stringify(change(JSON.parse(found?.value ?? '{}'))), { signal });
}

describe('49: what was changed of upstreams', () => {
  test('is after a restart as it was left', async () => {
    const { first, secret, image, cache } = await startKept();
    const { upstreams } = cache.cache;
    await upstreams.add({ key: 'private', url: secret.url, auth: hub, staleIfErrorFor: Number.POSITIVE_INFINITY });
    await upstreams.update('private', { freshFor: '1h' });
    await upstreams.update('up', { mode: 'offline' });
    await upstreams.add({ key: 'gone', url: first.url });
    await upstreams.remove('gone');
    const before = upstreams.list();
    await cache.restart();
    expect((await cache.get('/v2/private/team/app/manifests/1')).headers['docker-content-digest']).toBe(
      image.root.digest,
    );
    expect(cache.cache.upstreams.list()).toEqual(before);
    expect(shown(cache)).toEqual([
      ['up', 'options', 1],
      ['private', 'added', 2],
    ]);
    expect((await cache.get('/v2/team/app/manifests/1')).status).toBe(504);
    expect((await cache.get('/v2/gone/team/app/manifests/1')).errorCode).toBe('NAME_UNKNOWN');
    expect(first.requests).toEqual([]);
    expect(cache.seen('warning').map(({ message }) => message)).toContainEqual(
      expect.stringContaining('upstream up is as it was changed while the cache ran'),
    );
  });

  test('is taken over some at a time, so that nobody waits for thousands of upstreams to be made ready', async () => {
    const { first, cache } = await startKept();
    for (let index = 0; index < 60; index++) await cache.cache.upstreams.add({ key: `up-${index}`, url: first.url });
    await cache.restart();
    const seen = new Set<number>();
    while (!seen.has(61)) {
      seen.add(shown(cache).length);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(seen.size).toBeGreaterThan(2);
  });

  test('holds for an upstream of the options that was removed', async () => {
    const { first, cache } = await startKept();
    await cache.cache.upstreams.remove('up');
    await cache.restart();
    expect((await cache.get('/v2/up/team/app/manifests/1')).errorCode).toBe('NAME_UNKNOWN');
    expect((await cache.get('/v2/team/app/manifests/1')).errorCode).toBe('NAME_UNKNOWN');
    expect(first.requests).toEqual([]);
  });

  test('may begin with no upstream at all', async () => {
    const upstream = await startUpstream();
    upstream.addImage('team/app', { tag: '1' });
    const cache = await startCache({ upstreams: [], defaultUpstream: 'up', persistUpstreams: {} });
    expect((await cache.get('/v2/team/app/manifests/1')).errorCode).toBe('NAME_UNKNOWN');
    await cache.cache.upstreams.add({ key: 'up', url: upstream.url });
    expect((await cache.get('/v2/team/app/manifests/1')).status).toBe(200);
  });
});

describe('a secret that is stored', () => {
  test('is in no byte of the stores, and in no event', async () => {
    const { secret, cache } = await startKept();
    const secrets = [hub.password, 'token-of-a-hub', 'pass-of-the-proxy', 'token-of-an-endpoint', 'key-of-the-client'];
    const pem = (kind: string, text: string) => `-----BEGIN ${kind}-----\n${text}\n-----END ${kind}-----\n`;
    const { upstreams } = cache.cache;
    await upstreams.add({ key: 'private', url: secret.url, auth: hub });
    await upstreams.add({
      key: 'other',
      url: secret.url,
      auth: { token: 'token-of-a-hub' },
      proxy: 'http://user:pass-of-the-proxy@127.0.0.1:1',
      endpoints: [{ url: secret.url, auth: { token: 'token-of-an-endpoint' } }],
    });
    await upstreams.update('private', { freshFor: '1m' });
    await codeOf(
      upstreams.update('private', {
        tls: { cert: pem('CERTIFICATE', 'MIIB'), key: pem('PRIVATE KEY', 'key-of-the-client') },
        auth: hub,
      }),
    );
    await cache.get('/v2/private/team/app/manifests/1');
    await cache.cache.close();
    const watch = secretWatch();
    watch.sawFiles(cache.directory);
    watch.saw('the events', cache.events);
    watch.saw('the list', upstreams.list());
    expect(watch.count()).toBeGreaterThan(5);
    expect(watch.leaks([...secrets, encryptionKey.toString('latin1')])).toEqual([]);
  });

  test('needs a key, or a reference in its place', async () => {
    const { secret, cache } = await startKept({ secretOf: async () => hub });
    const { upstreams } = cache.cache;
    await expect(upstreams.add({ key: 'private', url: secret.url, auth: hub })).rejects.toThrow(
      /^upstream\.auth: expected persistUpstreams\.encryptionKey .*reference/,
    );
    await expect(upstreams.add({ key: 'private', url: secret.url, auth: async () => hub })).rejects.toThrow(
      /^upstream\.auth: expected no function/,
    );
    await upstreams.add({ key: 'private', url: secret.url, auth: { reference: 'vault/hub' } });
    await cache.restart();
    expect((await cache.get('/v2/private/team/app/manifests/1')).status).toBe(200);
    expect(cache.cache.upstreams.list()[1]?.auth).toEqual({ kind: 'reference', reference: 'vault/hub' });
  });

  test('that the options give stays theirs, and goes nowhere else when they are changed', async () => {
    const { first, secret, cache } = await startKept({});
    const own = { key: 'up', url: secret.url, auth: hub };
    await cache.restart({ upstreams: [own] });
    await cache.cache.upstreams.update('up', { freshFor: '1h' });
    await cache.restart({ upstreams: [{ ...own, auth: async () => hub }] });
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    // What is written leads to the first place, the options have a credential for another one by now.
    await cache.restart({ upstreams: [{ ...own, url: first.url }] });
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(503);
    expect(first.requests).toEqual([]);
    await cache.cache.upstreams.update('up', { url: first.url, auth: 'anonymous' });
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
  });

  test.each([
    ['the key is another one', (key: Buffer) => Buffer.from(key).reverse()],
    ['there is no key any more', () => undefined],
  ])('makes its upstream, and no other, unusable where %s', async (_what, other) => {
    const { first, secret, cache } = await startKept();
    await cache.cache.upstreams.add({ key: 'private', url: secret.url, auth: hub, hosts: ['private.example'] });
    await cache.cache.upstreams.add({ key: 'open', url: first.url });
    const key = other(encryptionKey);
    await cache.restart({ persistUpstreams: key ? { encryptionKey: key } : {} });
    for (const path of ['/v2/private/team/app/manifests/1', '/v2/team/app/manifests/1?ns=private.example']) {
      const got = await cache.get(path);
      expect([got.status, got.headers['retry-after']]).toEqual([503, '30']);
    }
    expect((await cache.get('/v2/open/team/app/manifests/1')).status).toBe(200);
    expect(secret.requests).toEqual([]);
    expect(cache.seen('upstream-unusable').map(({ upstream }) => upstream)).toEqual(['private']);
    const { upstreams } = cache.cache;
    expect(upstreams.list().find((one) => one.key === 'private')?.unusable).toContain('give auth anew');
    expect(await codeOf(upstreams.update('private', { freshFor: '1h' }))).toBe('secret-required');
    expect(await codeOf(upstreams.add({ key: 'private', url: secret.url }))).toBe('upstream-exists');
    if (key) await upstreams.update('private', { auth: hub });
    else {
      await upstreams.remove('private');
      await upstreams.add({ key: 'private', url: secret.url });
    }
    expect((await cache.get('/v2/private/team/app/manifests/1')).status).toBe(key ? 200 : 403);
  });

  test('does not follow its record when somebody who can write the store leads it elsewhere', async () => {
    const storage = memoryStorage();
    const [secret, thief] = [
      await startUpstream({ auth: { basic: hub } }),
      await startUpstream({ auth: { basic: hub } }),
    ];
    const cache = await startCache({ upstreams: [], storage, persistUpstreams: { encryptionKey } });
    await cache.cache.upstreams.add({ key: 'private', url: secret.url, auth: hub });
    await rewrite(storage, 'private', (record) => ({
      ...record,
      options: { ...(record['options'] as object), url: thief.url },
    }));
    await cache.restart();
    expect((await cache.get('/v2/private/team/app/manifests/1')).status).toBe(503);
    expect(thief.requests).toEqual([]);
  });
});

describe('49: a record of an upstream', () => {
  test.each([
    ['of a later release', (record: object) => ({ ...record, format: 2 }), 'storage-format'],
    ['that is damaged', () => 'nothing', 'storage-damaged'],
    [
      'with options that this release does not take',
      (record: object) => ({ ...record, options: { key: 'open', url: 'ftp://x' } }),
      'invalid-options',
    ],
  ])('%s makes that upstream unusable, and stays until it is removed', async (_what, change, code) => {
    const storage = memoryStorage();
    const upstream = await startUpstream();
    upstream.addImage('team/app', { tag: '1' });
    const cache = await startCache({
      ...{ upstreams: [{ key: 'up', url: upstream.url }], defaultUpstream: 'up', storage },
      persistUpstreams: { encryptionKey },
    });
    await cache.cache.upstreams.add({ key: 'open', url: upstream.url });
    await rewrite(storage, 'open', change);
    await cache.restart();
    expect((await cache.get('/v2/open/team/app/manifests/1')).status).toBe(503);
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    expect(cache.cache.upstreams.list().map(({ key, unusable }) => [key, unusable !== undefined])).toEqual([
      ['up', false],
      ['open', true],
    ]);
    expect(await codeOf(cache.cache.upstreams.update('open', { freshFor: '1h' }))).toBe(code);
    await cache.cache.upstreams.remove('open');
    expect((await cache.get('/v2/open/team/app/manifests/1')).status).toBe(404);
    await cache.cache.upstreams.add({ key: 'open', url: upstream.url });
    expect((await cache.get('/v2/open/team/app/manifests/1')).status).toBe(200);
  });

  test('that is damaged, or of a key that is reserved by now, takes no other upstream with it', async () => {
    const storage = memoryStorage();
    const upstream = await startUpstream();
    upstream.addImage('team/app', { tag: '1', seed: 'the private one' });
    const open = await startUpstream();
    open.addImage('private/team/app', { tag: '1', seed: 'an impostor' });
    const cache = await startCache({
      ...{ upstreams: [{ key: 'up', url: open.url }], defaultUpstream: 'up', storage },
      persistUpstreams: { encryptionKey },
    });
    for (const key of ['broken', 'private', 'reserved']) await cache.cache.upstreams.add({ key, url: upstream.url });
    await rewrite(storage, 'broken', () => 'nothing');
    await cache.restart({ reservedKeys: ['reserved'] });
    const statuses = [];
    for (const key of ['broken', 'private', 'reserved', 'up/private']) {
      statuses.push((await cache.get(`/v2/${key}/team/app/manifests/1`)).status);
    }
    expect(statuses).toEqual([503, 200, 503, 200]);
    const digest = upstream.addImage('team/app', { tag: '1', seed: 'the private one' }).root.digest;
    expect((await cache.get('/v2/private/team/app/manifests/1')).headers['docker-content-digest']).toBe(digest);
  });

  test('that the file store itself cannot read makes its upstream unusable', async () => {
    const { first, cache } = await startKept();
    await cache.cache.upstreams.add({ key: 'open', url: first.url });
    await cache.cache.close();
    const file = readdirSync(cache.directory, { recursive: true, encoding: 'utf8' }).find(
      (name) => name.includes('upstreams') && name.includes('open') && !name.endsWith('upstreams'),
    );
    const path = join(cache.directory, file ?? 'missing');
    writeFileSync(path, readFileSync(path).subarray(0, 20));
    await cache.restart();
    expect((await cache.get('/v2/open/team/app/manifests/1')).status).toBe(503);
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    await cache.cache.upstreams.remove('open');
    expect((await cache.get('/v2/open/team/app/manifests/1')).status).toBe(404);
  });
});

describe('49: while the store cannot be read', () => {
  test('at the start, upstreams of the options are served, and other names are 503 until it can', async () => {
    const inner = memoryStorage();
    const storage = flakyStore(inner);
    const [hubLike, corp] = [await startUpstream(), await startUpstream()];
    hubLike.addImage('library/alpine', { tag: '3' });
    hubLike.addImage('corp/app', { tag: '1', seed: 'an impostor' });
    const image = corp.addImage('app', { tag: '1', seed: 'the private one' });
    const cache = await startCache({
      upstreams: [{ key: 'up', url: hubLike.url, library: true }],
      defaultUpstream: 'up',
      storage,
      persistUpstreams: {},
    });
    await cache.cache.upstreams.add({ key: 'corp', url: corp.url, hosts: ['corp.example'] });
    storage.on('metadata.list', { fail: 'away' });
    await cache.restart();
    for (const path of [
      '/v2/up/library/alpine/manifests/3',
      '/v2/alpine/manifests/3',
      '/v2/library/alpine/manifests/3',
    ]) {
      expect((await cache.get(path)).status).toBe(200);
    }
    for (const path of ['/v2/corp/app/manifests/1', '/v2/app/manifests/1?ns=corp.example']) {
      const got = await cache.get(path);
      expect([got.status, got.errorCode, got.headers['retry-after']]).toEqual([503, 'UNAVAILABLE', '2']);
    }
    expect((await cache.get('/v2/')).status).toBe(200);
    expect(hubLike.requests.some(({ path }) => path.includes('corp'))).toBe(false);
    expect(cache.seen('store-failed').filter(({ subject }) => subject === 'upstreams')).toHaveLength(1);
    storage.heal();
    await cache.clock.advance(1_000);
    await vi.waitFor(
      async () =>
        expect((await cache.get('/v2/corp/app/manifests/1')).headers['docker-content-digest']).toBe(image.root.digest),
      generous,
    );
  });

  test('requests wait for the first reading, and no longer than 2 s', async () => {
    const storage = flakyStore(memoryStorage());
    const upstream = await startUpstream();
    upstream.addImage('team/app', { tag: '1' });
    const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url }], storage, persistUpstreams: {} });
    await cache.cache.upstreams.add({ key: 'other', url: upstream.url });
    storage.on('metadata.list', { hang: true });
    await cache.restart();
    const [own, other] = [cache.get('/v2/up/team/app/manifests/1'), cache.get('/v2/other/team/app/manifests/1')];
    await vi.waitFor(() => expect(storage.calls('metadata.list')).toBeGreaterThan(1), generous);
    expect(upstream.requests).toEqual([]);
    await vi.waitFor(async () => {
      await cache.clock.advance(2_000);
      expect(upstream.requests).not.toEqual([]);
    }, generous);
    expect([(await own).status, (await other).status]).toEqual([200, 503]);
    storage.heal();
  });

  test('later, all goes on as it was, and a change is refused that cannot be written', async () => {
    const storage = flakyStore(memoryStorage());
    const upstream = await startUpstream();
    upstream.addImage('team/app', { tag: '1' });
    const cache = await startCache({ upstreams: [], storage, persistUpstreams: {} });
    await cache.cache.upstreams.add({ key: 'open', url: upstream.url });
    for (const operation of ['get', 'getMany', 'set', 'list'] as const) {
      storage.on(`metadata.${operation}`, { fail: 'away' });
    }
    await cache.clock.advance(30_000);
    expect((await cache.get('/v2/open/team/app/manifests/1')).status).toBe(200);
    expect((await cache.get('/v2/none/team/app/manifests/1')).status).toBe(404);
    expect(await codeOf(cache.cache.upstreams.remove('open'))).toBe('storage-failed');
    expect(await codeOf(cache.cache.upstreams.add({ key: 'new', url: upstream.url }))).toBe('storage-failed');
    expect(shown(cache)).toEqual([['open', 'added', 1]]);
    storage.heal();
    await cache.cache.upstreams.remove('open');
    expect(shown(cache)).toEqual([]);
  });
});
