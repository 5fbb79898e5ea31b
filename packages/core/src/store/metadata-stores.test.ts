import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { casesOf, metadataStoreContract } from '@proxycache/contract';
import { describe, test } from 'vitest';
import { systemClock } from '../runtime/clock.ts';
import { fileStorage } from './file-storage.ts';
import { createMemoryMetadata } from './memory-metadata.ts';
import type { MetadataStore } from './metadata-store.ts';

const stores: Record<string, (directory: string) => MetadataStore> = {
  memoryStorage: () => createMemoryMetadata(systemClock),
  fileStorage: (directory) => fileStorage(directory).metadata,
  'durable fileStorage': (directory) => fileStorage(directory, { durable: true }).metadata,
};

describe.each(Object.entries(stores))('metadata of %s', (_, storeIn) => {
  const make = async () => {
    const directory = await mkdtemp(join(tmpdir(), 'metadata-stores-'));
    return { store: storeIn(directory), close: () => rm(directory, { recursive: true }) };
  };
  for (const { name, run } of casesOf(metadataStoreContract)) test(name, () => run(make));
});
