import { blobStoreContract, casesOf } from '@proxycache/contract';
import { type BlobStore, type Digest, digestOf } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { lruBlobs } from './lru-blobs.ts';

const { signal } = new AbortController();

describe('keeps the contract of blob stores', () => {
  const make = async () => ({ store: lruBlobs({ maxBytes: 64 * 1024 * 1024 }), close: async () => undefined });
  for (const { name, run } of casesOf(blobStoreContract)) test(name, () => run(make));
});

async function put(store: BlobStore, text: string): Promise<Digest> {
  const bytes = Buffer.from(text);
  const digest = digestOf(bytes);
  await store.put({ digest, bytes, signal });
  return digest;
}

async function stored(store: BlobStore): Promise<Digest[]> {
  const digests: Digest[] = [];
  for await (const { digest } of store.digests({ signal })) digests.push(digest);
  return digests;
}

test('forgets what was read longest ago when there is no room', async () => {
  const store = lruBlobs({ maxBytes: 8 });
  const read = await put(store, 'aaa');
  await put(store, 'bbb');
  await store.open(read, { signal });
  const last = await put(store, 'ccc');
  expect(await stored(store)).toEqual([read, last].sort());
});

test('counts a blob that is stored again once', async () => {
  const store = lruBlobs({ maxBytes: 8 });
  const first = await put(store, 'aaa');
  for (let time = 0; time < 5; time++) await put(store, 'bbb');
  expect(await stored(store)).toContain(first);
});

test('refuses a blob that it has no room for, and keeps the others', async () => {
  const store = lruBlobs({ maxBytes: 8 });
  const kept = await put(store, 'aaa');
  await expect(put(store, 'too long for it')).rejects.toMatchObject({ code: 'storage-full' });
  expect(await stored(store)).toEqual([kept]);
});
