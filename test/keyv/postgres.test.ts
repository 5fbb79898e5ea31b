import { dirname } from 'node:path';
import { KeyvPostgres } from '@keyv/postgres';
import { casesOf, metadataStoreContract } from '@proxycache/contract';
import { createProxyCache, digestOf, fileStorage, keyvMetadata, type MetadataStore } from '@proxycache/core';
import { startFakeUpstream } from '@proxycache/test-kit';
import { Keyv } from 'keyv';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { findProgram, lacking } from '../system.ts';
import { type PostgresServer, postgresFolders, startPostgres } from './postgres-server.ts';

const program = findProgram('initdb', postgresFolders) ?? lacking("install Debian's postgresql");
const { signal } = new AbortController();

describe.skipIf(program === undefined)('metadata in PostgreSQL by @keyv/postgres', () => {
  const { Pool } = pg;
  let server: PostgresServer;
  let tables = 0;

  beforeAll(async () => {
    // As the page on stores says: @keyv/postgres listens to no errors of its pool.
    pg.Pool = class extends Pool {
      constructor(options?: pg.PoolConfig) {
        super(options);
        this.on('error', () => undefined);
      }
    };
    server = await startPostgres(dirname(program!));
  });
  afterAll(async () => {
    pg.Pool = Pool;
    await server?.close();
  });

  function storeIn(table: string): MetadataStore {
    const store = new KeyvPostgres({ uri: server.url, table, keySize: 1_100 });
    return keyvMetadata(new Keyv({ store, useKeyPrefix: false }));
  }

  const make = async () => ({ store: storeIn(`contract_${tables++}`), close: async () => undefined });
  for (const { name, run } of casesOf(metadataStoreContract)) test(name, () => run(make));

  test('fails while it is down, never says absent, and comes back with what it had', async () => {
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
    const read = () => store.get('key', { signal }).catch(() => undefined);
    await expect.poll(read, { timeout: 15_000 }).toMatchObject({ value: 'x' });
  });

  test('a cache pulls, and after a restart of both serves what it had with the upstream gone', async () => {
    const upstream = await startFakeUpstream();
    const folder = makeTemporaryFolder('keyv');
    onTestFinished(async () => {
      await upstream.stop();
      removeFolder(folder);
    });
    const { root, blobs } = upstream.addImage('team/app', { tag: '1', layerSizes: [100_000] });
    const startCache = () =>
      createProxyCache({
        upstreams: [{ key: 'up', url: upstream.url }],
        storage: { ...fileStorage(folder), metadata: storeIn('pulls') },
      });
    const pull = async (cache: ReturnType<typeof startCache>) => {
      for (const [path, digest] of [
        ['manifests/1', root.digest],
        ...blobs.map((blob) => [`blobs/${blob.digest}`, blob.digest]),
      ]) {
        const response = await cache.fetch(new Request(`http://cache/v2/up/team/app/${path}`));
        const bytes = Buffer.from(await response.arrayBuffer());
        expect([response.status, digestOf(bytes)]).toEqual([200, digest]);
      }
    };
    const first = startCache();
    await pull(first);
    await first.close();
    await server.stop();
    await server.start();
    await upstream.stop();
    const second = startCache();
    await pull(second);
    await second.close();
  });
});
