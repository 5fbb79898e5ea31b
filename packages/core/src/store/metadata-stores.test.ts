import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { casesOf, metadataStoreContract } from '@proxycache/contract';
import { Keyv } from 'keyv';
import { describe, test } from 'vitest';
import { systemClock } from '../runtime/clock.ts';
import { createFileKeyvStore } from './file-keyv-store.ts';
import { fileStorage } from './file-storage.ts';
import { createTempFolder } from './file-temp.ts';
import { keyvMetadata } from './keyv-metadata.ts';
import { createMemoryMetadata } from './memory-metadata.ts';
import type { MetadataStore } from './metadata-store.ts';

const stores: Record<string, (directory: string) => MetadataStore> = {
  memoryStorage: () => createMemoryMetadata(systemClock),
  fileStorage: (directory) => fileStorage(directory).metadata,
  'durable fileStorage': (directory) => fileStorage(directory, { durable: true }).metadata,
  'keyvMetadata over a Map': () => keyvMetadata(new Keyv()),
  'keyvMetadata over files': (directory) => {
    const how = { durable: false, remake: async () => undefined };
    const temp = createTempFolder(tmpdir(), how);
    const store = createFileKeyvStore(directory, { temp, written: () => undefined, ...how });
    return keyvMetadata(new Keyv({ store, useKeyPrefix: false }));
  },
  'keyvMetadata over a Map that many share': () => {
    const store = new Map();
    void new Keyv({ store, namespace: 'other' }).set('tag/hub/-/x', 'x');
    return keyvMetadata(new Keyv({ store, namespace: 'px' }));
  },
};

describe.each(Object.entries(stores))('metadata of %s', (_, storeIn) => {
  const make = async () => {
    const directory = await mkdtemp(join(tmpdir(), 'metadata-stores-'));
    return { store: storeIn(directory), close: () => rm(directory, { recursive: true }) };
  };
  for (const { name, run } of casesOf(metadataStoreContract)) test(name, () => run(make));
});
