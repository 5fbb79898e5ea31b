import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blobStoreContract, casesOf } from '@proxycache/contract';
import { describe, test } from 'vitest';
import { fileStorage } from './file-storage.ts';
import { memoryStorage } from './memory-storage.ts';
import type { Storage } from './storage.ts';

const storages: Record<string, (directory: string) => Storage> = {
  memoryStorage: () => memoryStorage(),
  fileStorage: (directory) => fileStorage(directory),
  'durable fileStorage': (directory) => fileStorage(directory, { durable: true }),
};

describe.each(Object.entries(storages))('blobs of %s', (_, storageIn) => {
  const make = async () => {
    const directory = await mkdtemp(join(tmpdir(), 'blob-stores-'));
    const { blobs: store, spoolDirectory } = storageIn(directory);
    const close = async () => {
      await rm(directory, { recursive: true });
      await rm(spoolDirectory, { recursive: true, force: true });
    };
    return { store, close };
  };
  for (const { name, run } of casesOf(blobStoreContract)) test(name, () => run(make));
});
