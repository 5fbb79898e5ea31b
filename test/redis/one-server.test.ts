import { setMaxListeners } from 'node:events';
import { inspect } from 'node:util';
import { createClient } from '@keyv/redis';
import { casesOf, metadataStoreContract } from '@proxycache/contract';
import { type RedisMetadata, type RedisOptions, redisCoordinator, redisMetadata } from '@proxycache/redis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { readPage } from '../docs/markdown.ts';
import { requireProgram } from '../system.ts';
import { type RedisServer, startRedisServer } from './redis-server.ts';

const program = requireProgram('redis-server');
const { signal } = new AbortController();
setMaxListeners(0, signal);
/** A machine under load stops all of its processes for a while. */
const patient = { answerWithin: '10s' } as const;
const inspectDeeply = (value: unknown) => inspect(value, { depth: 20, showHidden: true });

describe.skipIf(program === undefined)('metadata in one Redis', () => {
  let server: RedisServer;
  let client: ReturnType<typeof createClient>;
  const open: RedisMetadata[] = [];
  let prefixes = 0;

  beforeAll(async () => {
    server = await startRedisServer(program!);
    client = createClient({ url: server.url });
    await client.connect();
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((store) => store.close()));
  });
  afterAll(async () => {
    client?.destroy();
    await server?.close();
  });

  function storeIn(prefix: string, options: Partial<RedisOptions> = {}): RedisMetadata {
    const store = redisMetadata({ ...patient, url: server.url, prefix, ...options });
    open.push(store);
    return store;
  }
  const freshPrefix = () => `contract-${prefixes++}`;

  describe('by url', () => {
    const make = async () => {
      const store = redisMetadata({ ...patient, url: server.url, prefix: freshPrefix() });
      return { store, close: store.close };
    };
    for (const { name, run } of casesOf(metadataStoreContract)) test(name, () => run(make));
  });

  describe("by the host's client", () => {
    const make = async () => {
      const store = redisMetadata({ ...patient, client, prefix: freshPrefix() });
      return { store, close: store.close };
    };
    for (const { name, run } of casesOf(metadataStoreContract)) test(name, () => run(make));
  });

  test('keeps prefixes apart, also where one is the beginning of the other', async () => {
    const [one, two] = [storeIn('px'), storeIn('px:2')];
    await one.set('tag/a', '1', { signal });
    await two.set('tag/a', '2', { signal });
    await two.set('tag/b', '2', { signal });
    expect(await one.get('tag/a', { signal })).toMatchObject({ value: '1' });
    expect(await one.list('', { limit: 10, signal })).toEqual(['tag/a']);
    expect(await two.list('', { limit: 10, signal })).toEqual(['tag/a', 'tag/b']);
  });

  test('lets one of many writers in several processes win who saw the same version', async () => {
    const stores = Array.from({ length: 8 }, () => storeIn('writers'));
    for (let round = 0; round < 10; round++) {
      const version = (await stores[0]!.get('key', { signal }))?.version ?? 'absent';
      const written = stores.map((store, at) => store.set('key', `${round}-${at}`, { ifVersion: version, signal }));
      expect((await Promise.all(written)).filter(Boolean)).toHaveLength(1);
    }
  });

  test('lists what several processes set and delete at the same time', async () => {
    const stores = Array.from({ length: 4 }, () => storeIn('listed'));
    const keys = Array.from({ length: 200 }, (_, at) => `tag/${at % 5}/${String(at).padStart(3, '0')}`);
    await Promise.all(keys.map((key, at) => stores[at % 4]!.set(key, 'x', { signal })));
    await Promise.all(keys.map((key, at) => at % 2 && stores[(at + 1) % 4]!.delete(key, { signal })));
    const kept = keys.filter((_, at) => at % 2 === 0).sort();
    for (const store of stores) expect(await store.list('', { limit: 1_000, signal })).toEqual(kept);
  });

  test('a fence ended with its record, and an old holder could write again', async () => {
    const store = storeIn('fences');
    const ttl = async (key: string) => Number(await client.ttl((await client.keys(`fences::*}${key}`))[0]!));
    const day = 86_400;
    await store.set('expired', '1', { fence: 9, expiresAt: Date.now() - 1, signal });
    await store.set('deleted', '1', { fence: 9, signal });
    await store.delete('deleted', { signal });
    await store.set('expires', '1', { expiresAt: Date.now() + 60_000, fence: 9, signal });
    await store.set('expires', '2', { expiresAt: Date.now() + 60_000, signal });
    expect(await store.list('', { limit: 10, signal })).toEqual(['expires']);
    // Redis forgets it some time, and nothing else is left of what has gone.
    for (const key of ['expired', 'deleted', 'expires']) {
      expect(await ttl(key)).toBeGreaterThan(day - 120);
      expect(await ttl(key)).toBeLessThanOrEqual(day + 60);
      expect(await store.set(key, 'late', { fence: 8, signal })).toBe(false);
    }
    const [index] = await client.keys('fences::*}!index');
    expect(await client.zCard(index!)).toBe(1);
    expect(await store.set('deleted', '2', { ifVersion: 'absent', fence: 10, signal })).toBe(true);
    expect(await ttl('deleted')).toBe(-1);
  });

  test('lets Redis collect what has expired, some time later, and lists it no more', async () => {
    const store = storeIn('ttl');
    await store.set('key', 'x', { expiresAt: Date.now() + 60_000, signal });
    const [name] = await client.keys('ttl::*}key');
    const seconds = await client.ttl(name!);
    expect(seconds).toBeGreaterThan(3_600);
    expect(seconds).toBeLessThan(2 * 3_600);
    await client.del(name!);
    expect(await store.list('', { limit: 10, signal })).toEqual([]);
    expect(await client.keys('ttl::*')).toEqual([]);
  });

  test('tells a damaged record and one of a newer format, which a set replaces and a delete removes', async () => {
    const store = storeIn('damaged');
    const damage = async (key: string, text: string) => {
      await store.set(key, 'x', { signal });
      const [name] = await client.keys(`damaged::*}${key}`);
      await client.set(name!, text);
    };
    const damaged = { code: 'storage-damaged' };
    for (const text of ['', '\n', 'nothing of ours', '1 version\nx', '1 version - - -\nx', '1 version soon -\nx']) {
      await damage('key', text);
      await expect(store.get('key', { signal })).rejects.toMatchObject(damaged);
      await expect(store.getMany(['key'], { signal })).rejects.toMatchObject(damaged);
      await expect(store.set('key', 'y', { ifVersion: 'absent', signal })).rejects.toMatchObject(damaged);
      await expect(store.set('key', 'y', { fence: 1, signal })).rejects.toMatchObject(damaged);
      expect(await store.delete('key', { ifVersion: 'version', signal })).toBe(false);
      expect(await store.list('', { limit: 10, signal })).toEqual(['key']);
      expect(await store.set('key', 'z', { signal })).toBe(true);
      expect(await store.get('key', { signal })).toMatchObject({ value: 'z' });
      await damage('key', text);
      expect(await store.delete('key', { signal })).toBe(true);
    }
    await damage('newer', '2 whatever it says\nx');
    await expect(store.get('newer', { signal })).rejects.toMatchObject({ code: 'storage-format' });
  });

  test('goes on when the server has forgotten its scripts', async () => {
    const store = storeIn('scripts');
    await store.set('key', '1', { signal });
    await client.scriptFlush();
    await store.set('key', '2', { signal });
    expect(await store.get('key', { signal })).toMatchObject({ value: '2' });
  });

  test('reads many thousands of keys at once, and lists, without crowding the signal of the caller', async () => {
    const warnings: Error[] = [];
    const warn = (warning: Error) => warnings.push(warning);
    process.on('warning', warn);
    const { signal } = new AbortController();
    const store = storeIn('many');
    await store.set('tag/1', 'x', { signal });
    const keys = Array.from({ length: 5_000 }, (_, at) => `tag/${at}`);
    const found = await store.getMany(keys, { signal });
    expect(found.flatMap((entry, at) => (entry ? [at] : []))).toEqual([1]);
    expect(await store.list('', { limit: 10, signal })).toEqual(['tag/1']);
    // Node tells of it in a turn of its own.
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', warn);
    expect(warnings).toEqual([]);
  });

  test('asks with username, password and database, and says what is wrong with them without saying them', async () => {
    const [documented = ''] = /ACL SETUSER cache .*/.exec(readPage('docs/stores.md').text) ?? [];
    const rights = documented.replace('secret', 'se%cr:et@').replaceAll('proxycache', 'mine').split(' ');
    await client.sendCommand([...rights, '+select']);
    const login = (user: string, password: string) =>
      server.url.replace('://', `://${user}:${encodeURIComponent(password)}@`);
    const store = storeIn('mine', { url: `${login('cache', 'se%cr:et@')}/3` });
    await store.set('key', 'x', { signal });
    expect(await store.list('', { limit: 10, signal })).toEqual(['key']);
    expect(await store.getMany(['key'], { signal })).toMatchObject([{ value: 'x' }]);
    expect(await store.delete('key', { signal })).toBe(true);
    expect(await store.set('key', 'x', { expiresAt: Date.now() - 1, signal })).toBe(true);
    expect(await store.list('', { limit: 10, signal })).toEqual([]);
    await store.set('key', 'x', { signal });
    expect(await client.keys('mine::*')).toEqual([]);

    const coordinator = redisCoordinator({ ...patient, url: login('cache', 'se%cr:et@'), prefix: 'mine' });
    const heard = new Promise((resolve) => coordinator.subscribe('channel', resolve));
    await coordinator.publish('channel', 'x');
    expect(await heard).toBe('x');
    const lease = await coordinator.acquire('job', { for: 3_000, signal });
    const renewed = async () => Number(await client.sendCommand(['PTTL', 'mine::{!lease/job}holder']));
    await expect.poll(renewed, { timeout: 15_000, interval: 20 }).toBeLessThan(2_400);
    await expect.poll(renewed, { timeout: 15_000, interval: 20 }).toBeGreaterThan(2_400);
    await lease?.release();
    expect(await coordinator.holder('job')).toBeUndefined();
    await coordinator.close();

    const foreign = storeIn('foreign', { url: login('cache', 'se%cr:et@') });
    await expect(foreign.set('key', 'x', { signal })).rejects.toThrow(/NOPERM.*documentation/);

    const lost: string[] = [];
    const wrong = storeIn('mine', {
      url: login('cache', 'wr%ong@'),
      observer: (event) => event.type === 'redis-lost' && lost.push(event.error.message),
    });
    const error: Error = await wrong.get('key', { signal }).then(
      () => expect.unreachable(),
      (reason) => reason,
    );
    expect(error).toMatchObject({ code: 'storage-failed', message: expect.stringContaining('WRONGPASS') });
    expect(lost).toEqual([error.message]);
    expect(inspectDeeply([error, lost])).not.toMatch(/wr%ong|wr%25ong/);
  });

  test("leaves the host's client open when it is closed, and fails from then on", async () => {
    const store = redisMetadata({ client, prefix: 'left-open' });
    expect(client.isReady).toBe(true);
    await store.close();
    expect(await client.ping()).toBe('PONG');
    await expect(store.get('key', { signal })).rejects.toMatchObject({ code: 'closed' });
  });

  test('ends its own connection when it is closed, after what is under way', async () => {
    const clients = async () =>
      String(await client.sendCommand(['CLIENT', 'LIST']))
        .trim()
        .split('\n').length;
    const before = await clients();
    const store = redisMetadata({ ...patient, url: server.url, prefix: 'closing' });
    const writing = store.set('key', 'x', { signal });
    await expect(writing).resolves.toBe(true);
    const underWay = store.set('key', 'y', { signal });
    await store.close();
    await expect(underWay).resolves.toBe(true);
    await expect(store.get('key', { signal })).rejects.toMatchObject({ code: 'closed' });
    await expect.poll(clients).toBe(before);
    await store.close();
  });
});
