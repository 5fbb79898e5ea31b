import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type BlobStore,
  type ByteRange,
  type Digest,
  digestOf,
  type OpenBlob,
  type StoredBlob,
} from '@proxycache/core';
import type { ContractCase } from '../contract.ts';

/** Makes a store that is empty; `close` ends what it holds. */
export type MakeBlobStore = () => Promise<{ store: BlobStore; close(): Promise<void> }>;

/** Content with its digest. */
export interface Sample {
  digest: Digest;
  bytes: Buffer;
}

/** What a case works with. Stores are let adopt files of this folder. */
export interface BlobFixture {
  store: BlobStore;
  signal: AbortSignal;
  /** A verified local file that holds the bytes. */
  spool(bytes: Uint8Array): Promise<string>;
  /** Content that was put into the store. */
  stored(bytes: Buffer, algorithm?: string): Promise<Sample>;
}

/** A case that runs on a fresh store and checks that the store is empty once what it lists was deleted. */
export function blobCase(name: string, check: (fixture: BlobFixture) => Promise<void>): ContractCase<MakeBlobStore> {
  return {
    name,
    async run(make) {
      const folder = await mkdtemp(join(tmpdir(), 'blob-store-contract-'));
      const { store, close } = await make();
      try {
        await check(fixtureOf(store, folder));
        await empty(store);
      } finally {
        await close();
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

function fixtureOf(store: BlobStore, folder: string): BlobFixture {
  const { signal } = new AbortController();
  // A case uses it for many calls at a time.
  setMaxListeners(0, signal);
  let files = 0;
  return {
    store,
    signal,
    async spool(bytes) {
      files++;
      const file = join(folder, `spooled-${files}`);
      await writeFile(file, bytes);
      return file;
    },
    async stored(bytes, algorithm) {
      const digest = digestOf(bytes, algorithm);
      await store.put({ digest, bytes, signal });
      return { digest, bytes };
    },
  };
}

async function empty(store: BlobStore): Promise<void> {
  const { signal } = new AbortController();
  for (const { digest } of await listed(store)) {
    assert.equal(await store.delete(digest, { signal }), true, `${digest} is listed but was not there to delete`);
  }
  assert.deepEqual(await listed(store), []);
}

/** Content that no store has seen. */
export function sample(size: number): Sample {
  const bytes = randomBytes(size);
  return { bytes, digest: digestOf(bytes) };
}

/** All that the store lists, from `after` on. */
export async function listed(store: BlobStore, after?: Digest): Promise<StoredBlob[]> {
  const { signal } = new AbortController();
  const blobs: StoredBlob[] = [];
  for await (const blob of store.digests(after === undefined ? { signal } : { after, signal })) blobs.push(blob);
  return blobs;
}

/** What the store has of a blob, whichever form it opens in; `undefined`: it is not stored. */
export async function readBlob(store: BlobStore, digest: Digest, range?: ByteRange): Promise<Buffer | undefined> {
  const { signal } = new AbortController();
  const blob = await store.open(digest, range ? { range, signal } : { signal });
  if (!blob) return undefined;
  try {
    return await readOpen(blob, range);
  } finally {
    await blob.close();
  }
}

/** The rest of an open blob. */
export async function readOpen(blob: OpenBlob, range?: ByteRange): Promise<Buffer> {
  if (blob.kind === 'stream') {
    const chunks: Buffer[] = [];
    for await (const chunk of blob.body) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  }
  const { from, to } = range ?? { from: 0, to: blob.size - 1 };
  const into = Buffer.alloc(to - from + 1);
  let length = 0;
  while (length < into.byteLength) {
    const more = await blob.read(into.subarray(length), from + length);
    if (more === 0) break;
    length += more;
  }
  return into.subarray(0, length);
}

/** Whether a spooled file is still there. */
export const isThere = (file: string): boolean => existsSync(file);
