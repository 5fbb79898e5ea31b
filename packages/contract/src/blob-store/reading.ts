import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Digest, OpenBlob } from '@proxycache/core';
import type { Contract } from '../contract.ts';
import { blobCase, type MakeBlobStore, readBlob, readOpen, sample } from './harness.ts';

const mebibyte = 1024 * 1024;

/** Rules of `open`. */
export const readingCases: Contract<MakeBlobStore> = [
  blobCase('opens nothing for what is not stored', async ({ store, signal }) => {
    assert.equal(await store.open(sample(10).digest, { signal }), undefined);
  }),

  blobCase('gives every range of a blob, with the size of the whole', async ({ store, signal, stored }) => {
    const { digest, bytes } = await stored(sample(1000).bytes);
    const ranges = [
      [0, 0],
      [0, 999],
      [999, 999],
      [250, 749],
    ] as const;
    for (const [from, to] of ranges) {
      const part = await readBlob(store, digest, { from, to });
      assert.deepEqual(part, bytes.subarray(from, to + 1), `bytes ${from} to ${to}`);
      const blob = await open(store.open(digest, { range: { from, to }, signal }));
      assert.equal(blob.size, 1000);
      await blob.close();
    }
  }),

  blobCase('opens a blob of no bytes', async ({ store, stored }) => {
    const { digest } = await stored(Buffer.alloc(0));
    assert.deepEqual(await readBlob(store, digest), Buffer.alloc(0));
  }),

  blobCase('gives a large blob byte for byte', async ({ store, signal, spool }) => {
    const { digest, bytes } = sample(32 * mebibyte);
    await store.adopt({ file: await spool(bytes), digest, size: bytes.byteLength, signal });
    assert.equal(await hashOf(await open(store.open(digest, { signal }))), digest);
  }),

  blobCase('serves many readers of one blob at a time', async ({ store, stored }) => {
    const { digest, bytes } = await stored(sample(100_000).bytes);
    const copies = await Promise.all(Array.from({ length: 20 }, () => readBlob(store, digest)));
    for (const copy of copies) assert.deepEqual(copy, bytes);
  }),

  blobCase('reads a file blob at any position, again and concurrently', async ({ store, signal, stored }) => {
    const { digest, bytes } = await stored(sample(10_000).bytes);
    const blob = await open(store.open(digest, { signal }));
    if (blob.kind === 'file') {
      const parts = await Promise.all(
        [9_000, 0, 5_000, 0].map(async (position) => {
          const into = Buffer.alloc(1_000);
          assert.equal(await blob.read(into, position), 1_000);
          return into;
        }),
      );
      const expected = [9_000, 0, 5_000, 0].map((position) => bytes.subarray(position, position + 1_000));
      assert.deepEqual(parts, expected);
      assert.equal(await blob.read(Buffer.alloc(1_000), 9_900), 100, 'a read over the end is short');
      assert.equal(await blob.read(Buffer.alloc(10), 10_000), 0, 'a read at the end gives nothing');
    }
    await blob.close();
  }),

  blobCase('closes unread, half read, and twice', async ({ store, signal, stored }) => {
    const { digest } = await stored(sample(300_000).bytes);
    const unread = await open(store.open(digest, { signal }));
    await unread.close();
    await unread.close();
    const half = await open(store.open(digest, { signal }));
    if (half.kind === 'file') await half.read(Buffer.alloc(10), 0);
    else for await (const _ of half.body) break;
    await half.close();
    await half.close();
  }),

  blobCase('tells the size of what is opened to be looked at, which can be read all the same', async (given) => {
    const { store, signal, stored } = given;
    for (const length of [0, 1, 100_000]) {
      const { digest, bytes } = await stored(sample(length).bytes);
      const looked = await open(store.open(digest, { forBytes: false, signal }));
      assert.equal(looked.size, length);
      await looked.close();
      const read = await open(store.open(digest, { forBytes: false, signal }));
      assert.deepEqual(await readOpen(read), Buffer.from(bytes));
      await read.close();
    }
  }),

  blobCase('gives what is opened for a scrub, and each of its copies, as it was stored', async (given) => {
    const { store, signal, stored } = given;
    const { digest, bytes } = await stored(sample(100_000).bytes);
    const blob = await open(store.open(digest, { forScrub: true, signal }));
    for (const one of [blob, ...(blob.copies ?? [])]) assert.deepEqual(await readOpen(one), Buffer.from(bytes));
    await blob.close();
    await blob.close();
  }),

  blobCase('lets a reader go on or fail when its blob is deleted', async ({ store, signal, stored }) => {
    const { digest, bytes } = await stored(sample(200_000).bytes);
    const blob = await open(store.open(digest, { signal }));
    await store.delete(digest, { signal });
    const read = await readOpen(blob).catch(() => undefined);
    if (read) assert.deepEqual(read, bytes);
    await blob.close();
    assert.equal(await store.open(digest, { signal }), undefined);
  }),

  blobCase('does not disturb a reader by storing its blob again', async ({ store, signal, spool, stored }) => {
    const { digest, bytes } = await stored(sample(200_000).bytes);
    const blob = await open(store.open(digest, { signal }));
    await store.adopt({ file: await spool(bytes), digest, size: bytes.byteLength, signal });
    await store.put({ digest, bytes, signal });
    assert.deepEqual(await readOpen(blob), bytes);
    await blob.close();
  }),

  blobCase('serves nothing by what is no digest', async ({ store, signal }) => {
    for (const digest of notDigests) {
      const opened = await store.open(digest, { signal }).catch(() => undefined);
      assert.equal(opened, undefined, digest);
    }
  }),
];

/** Texts that a path could be made of, were they taken for digests. */
export const notDigests: readonly Digest[] = [
  `sha256:${'../'.repeat(8)}etc/passwd`,
  `sha256:../../${'a'.repeat(58)}`,
  `..:${'a'.repeat(64)}`,
  `sha256:${'A'.repeat(64)}`,
  `sha256:${'a'.repeat(63)}`,
  'sha256:',
];

async function open(opening: Promise<OpenBlob | undefined>): Promise<OpenBlob> {
  const blob = await opening;
  assert.ok(blob, 'the blob is stored but was not opened');
  return blob;
}

async function hashOf(blob: OpenBlob): Promise<string> {
  const hash = createHash('sha256');
  if (blob.kind === 'stream') {
    for await (const chunk of blob.body) hash.update(chunk);
  } else {
    const into = Buffer.alloc(mebibyte);
    for (let position = 0; position < blob.size; ) {
      const length = await blob.read(into, position);
      assert.ok(length > 0, `the blob ends at ${position} of ${blob.size} bytes`);
      hash.update(into.subarray(0, length));
      position += length;
    }
  }
  await blob.close();
  return `sha256:${hash.digest('hex')}`;
}
