import { blobStoreContract, casesOf, metadataStoreContract } from '@proxycache/contract';
import { memoryStorage } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { flakyStore } from './flaky-store.ts';

describe('a flaky store without trouble', () => {
  describe('passes on what blobs do', () => {
    for (const { name, run } of casesOf(blobStoreContract)) {
      test(name, () =>
        run(async () => {
          const storage = flakyStore(memoryStorage());
          const close = async () => expect(storage.openBlobs()).toBe(0);
          return { store: storage.blobs, close };
        }),
      );
    }
  });

  describe('passes on what metadata do', () => {
    const make = async () => ({ store: flakyStore(memoryStorage()).metadata, close: async () => undefined });
    for (const { name, run } of casesOf(metadataStoreContract)) test(name, () => run(make));
  });
});
