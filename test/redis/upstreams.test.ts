import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  createProxyCache,
  isProxyCacheError,
  memoryStorage,
  type PersistUpstreamsOptions,
  type ProxyCache,
  type ProxyCacheEvent,
} from '@proxycache/core';
import { redisCoordinator, redisMetadata } from '@proxycache/redis';
import { type FakeUpstream, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { secretWatch } from '../semantics/secret-watch.ts';
import { requireProgram } from '../system.ts';
import { type RedisServer, startRedisServer, tellRedis } from './redis-server.ts';

const program = requireProgram('redis-server');
const waiting = { timeout: 60_000, interval: 20 };
const hub = { username: 'reader', password: 'pass-word-of-the-hub' };
const encryptionKey = 'a key of the tests, which has 32 bytes or more';

describe.skipIf(program === undefined)('upstreams of processes that share a Redis', () => {
  let server: RedisServer;
  let upstream: FakeUpstream;
  let open: { cache: ProxyCache; end: () => Promise<void> }[];

  beforeEach(async () => {
    server = await startRedisServer(program!);
    upstream = await startFakeUpstream({ auth: { basic: hub } });
    upstream.addImage('team/app', { tag: '1', seed: 'the private one' });
    open = [];
  });
  afterEach(async () => {
    await Promise.all(open.map(({ end }) => end()));
    await upstream.stop();
    await server.close();
  });

  /** A process of its own, but for where it runs. */
  function start(persist: PersistUpstreamsOptions = {}) {
    const events: ProxyCacheEvent[] = [];
    const options = { url: server.url, answerWithin: '1s' } as const;
    const [metadata, coordinator] = [redisMetadata(options), redisCoordinator(options)];
    const cache = createProxyCache({
      upstreams: [{ key: 'up', url: upstream.url, auth: hub, library: true }],
      defaultUpstream: 'up',
      storage: { ...memoryStorage(), metadata, coordinator },
      // What is told comes at once: nothing here is to wait for the next look.
      persistUpstreams: { encryptionKey, refreshEvery: '1h', ...persist },
      observer: (event) => events.push(event),
    });
    let ending: Promise<void> | undefined;
    async function endAll(): Promise<void> {
      await cache.close({ graceMs: 0 });
      await Promise.all([metadata.close(), coordinator.close()]);
    }
    const end = () => (ending ??= endAll());
    open.push({ cache, end });
    const status = async (path: string) => {
      const response = await cache.fetch(new Request(`http://cache/v2/${path}`));
      await response.arrayBuffer();
      return response.status;
    };
    const changes = () =>
      events.flatMap((event) =>
        event.type === 'upstream-changed' ? [[event.upstream, event.change, event.origin]] : [],
      );
    return { cache, events, status, changes, end, upstreams: cache.upstreams };
  }

  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      (error) => (isProxyCacheError(error) ? error.code : error),
    );

  test('are added, checked, used, changed and removed at one and at the other, and a third that starts has them', async () => {
    const [one, two] = [start(), start()];
    await one.upstreams.add({ key: 'private', url: upstream.url, auth: hub });
    await expect.poll(() => two.upstreams.list().map(({ key }) => key), waiting).toEqual(['up', 'private']);
    expect((await two.upstreams.check('private')).ok).toBe(true);
    expect(await two.status('private/team/app/manifests/1')).toBe(200);
    await two.upstreams.update('private', { mode: 'offline' });
    await expect.poll(() => one.upstreams.status()[1]?.mode, waiting).toBe('offline');
    const three = start();
    expect(await three.status('private/team/app/manifests/2')).toBe(504);
    await three.upstreams.remove('private');
    for (const { status } of [one, two, three]) {
      await expect.poll(() => status('private/team/app/manifests/1'), waiting).toBe(404);
    }
    expect(await start().status('private/team/app/manifests/1')).toBe(404);
    expect(one.changes()).toEqual([
      ['private', 'added', 'here'],
      ['private', 'updated', 'elsewhere'],
      ['private', 'removed', 'elsewhere'],
    ]);
  });

  test('of one key that both add at once are one, and whoever was slower is told', async () => {
    const [one, two] = [start(), start()];
    const adding = [one, two].map((each, index) =>
      codeOf(each.upstreams.add({ key: 'new', url: upstream.url, auth: hub, freshFor: index + 1 })),
    );
    const codes = await Promise.all(adding);
    expect([...codes].sort()).toEqual(['done', 'upstream-exists']);
    const winner = codes.indexOf('done') + 1;
    for (const { upstreams } of [one, two]) {
      await expect.poll(() => upstreams.list()[1]?.freshFor, waiting).toBe(winner);
    }
  });

  test('keep every change of many that come together from both', async () => {
    const [one, two] = [start(), start()];
    const [some, others] = [
      ['freshFor', 'absentFor', 'staleIfErrorFor'],
      ['manifestWithin', 'blobWithin', 'validateWithin'],
    ] as const;
    await Promise.all([
      ...some.map((name) => one.upstreams.update('up', { [name]: '77s' })),
      ...others.map((name) => two.upstreams.update('up', { [name]: '77s' })),
    ]);
    for (const { upstreams } of [one, two]) {
      await expect
        .poll(() => upstreams.list()[0], waiting)
        .toMatchObject({ revision: 6, ...Object.fromEntries([...some, ...others].map((name) => [name, '77s'])) });
    }
  });

  test('have no secret in Redis', async () => {
    const one = start();
    await one.upstreams.add({ key: 'private', url: upstream.url, auth: hub });
    expect(await one.status('private/team/app/manifests/1')).toBe(200);
    const watch = secretWatch();
    const keys = (await tellRedis(server.port, 'KEYS', '*')) as string[];
    for (const key of keys) watch.saw(key, await tellRedis(server.port, 'DUMP', key).catch(() => ''));
    const folder = ((await tellRedis(server.port, 'CONFIG', 'GET', 'dir')) as string[])[1] ?? '';
    for (const name of readdirSync(join(folder, 'appendonlydir'))) {
      watch.saw(name, readFileSync(join(folder, 'appendonlydir', name)).toString('latin1'));
    }
    expect(watch.count()).toBeGreaterThan(2);
    expect(keys.some((key) => key.includes('upstreams'))).toBe(true);
    expect(watch.leaks([hub.password, encryptionKey])).toEqual([]);
  });

  test('are served as they were while Redis is away; who starts then serves its own, and no name of another', async () => {
    const one = start();
    await one.upstreams.add({ key: 'private', url: upstream.url, auth: hub });
    await one.upstreams.remove('up').then(() => one.upstreams.add({ key: 'up', url: upstream.url, auth: hub }));
    expect(await one.status('private/team/app/manifests/1')).toBe(200);
    await server.kill();
    expect(await one.status('private/team/app/manifests/1')).toBe(200);
    expect(await codeOf(one.upstreams.remove('private'))).toBe('storage-failed');
    const two = start();
    upstream.clear();
    expect(await two.status('private/team/app/manifests/1')).toBe(503);
    expect(upstream.requests).toEqual([]);
    expect(await two.status('up/team/app/manifests/1')).toBe(200);
    await server.start();
    await expect.poll(() => two.status('private/team/app/manifests/1'), waiting).toBe(200);
    await expect.poll(() => codeOf(two.upstreams.remove('private')), waiting).toBe('done');
    await expect.poll(() => one.status('private/team/app/manifests/1'), waiting).toBe(404);
  });
});
