import KeyvRedis, { createClient } from '@keyv/redis';
import { casesOf, metadataStoreContract } from '@proxycache/contract';
import { keyvMetadata, type MetadataStore } from '@proxycache/core';
import { Keyv } from 'keyv';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requireProgram } from '../system.ts';
import { type RedisServer, startRedisServer } from './redis-server.ts';

const program = requireProgram('redis-server');
const { signal } = new AbortController();

describe.skipIf(program === undefined)('metadata in Redis by @keyv/redis', () => {
  let server: RedisServer;
  let client: ReturnType<typeof createClient>;
  let namespaces = 0;

  beforeAll(async () => {
    server = await startRedisServer(program!);
    client = createClient({
      url: server.url,
      // Without these a call waits for a server that is down as long as that lasts.
      disableOfflineQueue: true,
      socket: { connectTimeout: 1000, reconnectStrategy: () => 50 },
    });
    client.on('error', () => undefined);
    // Each adapter listens on it.
    client.setMaxListeners(0);
    await client.connect();
  });
  afterAll(async () => {
    client?.destroy();
    await server?.close();
  });

  function storeIn(namespace: string): MetadataStore {
    // One adapter for each Keyv, all on one client.
    const store = new KeyvRedis(client as never, { namespace });
    return keyvMetadata(new Keyv({ store, namespace, useKeyPrefix: false }));
  }

  const make = async () => {
    namespaces++;
    return { store: storeIn(`contract-${namespaces}`), close: async () => undefined };
  };
  for (const { name, run } of casesOf(metadataStoreContract)) test(name, () => run(make));

  test('keeps namespaces on one client apart', async () => {
    const [one, two] = [storeIn('one'), storeIn('two')];
    await one.set('tag/a', '1', { signal });
    await two.set('tag/a', '2', { signal });
    await two.set('tag/b', '2', { signal });
    expect(await one.get('tag/a', { signal })).toMatchObject({ value: '1' });
    expect(await one.list('', { limit: 10, signal })).toEqual(['tag/a']);
    expect(await client.exists(['one::tag/a', 'two::tag/b'])).toBe(2);
  });

  test('lets Redis collect what has expired, some time later', async () => {
    await storeIn('ttl').set('key', 'x', { expiresAt: Date.now() + 60_000, signal });
    const seconds = await client.ttl('ttl::key');
    expect(seconds).toBeGreaterThan(60);
    expect(seconds).toBeLessThan(2 * 3_600);
  });

  test('fails while the server is down, never says absent, and comes back with what it had', async () => {
    const store = storeIn('restart');
    await store.set('key', 'x', { signal });
    await server.stop();
    const failed = { code: 'storage-failed' };
    await expect(store.get('key', { signal })).rejects.toMatchObject(failed);
    await expect(store.getMany(['key', 'other'], { signal })).rejects.toMatchObject(failed);
    await expect(store.set('key', 'y', { signal })).rejects.toMatchObject(failed);
    await expect(store.delete('key', { signal })).rejects.toMatchObject(failed);
    await expect(store.list('', { limit: 1, signal })).rejects.toMatchObject(failed);
    await server.start();
    await expect.poll(() => store.get('key', { signal }), { timeout: 10_000 }).toMatchObject({ value: 'x' });
  });

  test('lets go of whoever gives up while the server is frozen', async () => {
    const store = storeIn('frozen');
    await store.set('key', 'x', { signal });
    process.kill(server.pid(), 'SIGSTOP');
    try {
      const left = { signal: AbortSignal.timeout(100) };
      await expect(store.get('key', left)).rejects.toMatchObject({ name: 'TimeoutError' });
      await expect(store.set('key', 'y', left)).rejects.toMatchObject({ name: 'TimeoutError' });
    } finally {
      process.kill(server.pid(), 'SIGCONT');
    }
    await store.set('key', 'z', { signal });
    expect(await store.get('key', { signal })).toMatchObject({ value: 'z' });
  });
});
