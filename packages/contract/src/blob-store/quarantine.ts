import assert from 'node:assert/strict';
import { type Digest, digestOf } from '@proxycache/core';
import type { Contract } from '../contract.ts';
import {
  type BlobFixture,
  blobCase,
  listed,
  type MakeBlobStore,
  readBlob,
  readOpen,
  type Sample,
  sample,
} from './harness.ts';
import { notDigests } from './reading.ts';

const gaveUp = new Error('gave up');

/** Puts bytes into the store that are not those of the digest: only such go into quarantine. */
async function storedWrong({ store, signal }: BlobFixture, size: number, algorithm?: string): Promise<Sample> {
  const { bytes } = sample(size);
  const digest = digestOf(sample(size).bytes, algorithm);
  await store.put({ digest, bytes, signal });
  return { digest, bytes };
}

/** Rules of `quarantine`. A store may look for itself whether a blob is wrong, and leave one that is right. */
export const quarantineCases: Contract<MakeBlobStore> = [
  blobCase('takes a blob into quarantine once: it is not stored any more', async (fixture) => {
    const { store, signal } = fixture;
    const { digest } = await storedWrong(fixture, 10);
    const other = await storedWrong(fixture, 10, 'sha512');
    assert.equal(await store.quarantine(digest, { signal }), true);
    assert.equal(await store.open(digest, { signal }), undefined);
    assert.deepEqual(
      (await listed(store)).map((blob) => blob.digest),
      [other.digest],
    );
    assert.equal(await store.quarantine(digest, { signal }), false);
    assert.equal(await store.delete(digest, { signal }), false);
    assert.equal(await store.quarantine(other.digest, { signal }), true);
  }),

  blobCase('stores a blob anew that is in quarantine, again and again', async ({ store, signal, spool }) => {
    const { digest, bytes } = sample(1_000);
    const wrong = Buffer.from(bytes).fill(0, 0, 10);
    for (let time = 0; time < 3; time++) {
      await store.put({ digest, bytes: wrong, signal });
      assert.equal(await store.quarantine(digest, { signal }), true);
      await store.put({ digest, bytes, signal });
      assert.deepEqual(await readBlob(store, digest), bytes);
      await store.put({ digest, bytes: wrong, signal });
      assert.equal(await store.quarantine(digest, { signal }), true);
      await store.adopt({ file: await spool(bytes), digest, size: bytes.byteLength, signal });
      assert.deepEqual(await readBlob(store, digest), bytes);
      await store.delete(digest, { signal });
    }
    assert.deepEqual(await listed(store), []);
  }),

  blobCase('never gives a reader other bytes when its blob goes into quarantine', async (fixture) => {
    const { store, signal } = fixture;
    const { digest, bytes } = await storedWrong(fixture, 300_000);
    const blob = await store.open(digest, { signal });
    assert.ok(blob);
    await store.quarantine(digest, { signal });
    const read = await readOpen(blob).catch(() => undefined);
    if (read) assert.deepEqual(read, bytes);
    await blob.close();
  }),

  blobCase('spares from quarantine what was stored after an instant', async (fixture) => {
    const { store, signal } = fixture;
    const { digest, bytes } = await storedWrong(fixture, 10);
    const storedAt = (await listed(store))[0]?.storedAt ?? Number.NaN;
    assert.equal(await store.quarantine(digest, { unlessStoredAfter: storedAt - 1, signal }), false);
    assert.deepEqual(await readBlob(store, digest), bytes);
    assert.equal(await store.quarantine(digest, { unlessStoredAfter: storedAt, signal }), true);
  }),

  blobCase('takes one blob into quarantine for one of many that ask at a time', async (fixture) => {
    const { store, signal } = fixture;
    const { digest } = await storedWrong(fixture, 1_000);
    const taken = await Promise.all(Array.from({ length: 8 }, () => store.quarantine(digest, { signal })));
    assert.equal(taken.filter(Boolean).length, 1);
  }),

  blobCase('takes nothing into quarantine for a caller that has given up, or by what is no digest', async (fixture) => {
    const { store, signal } = fixture;
    const { digest } = await storedWrong(fixture, 10);
    await assert.rejects(store.quarantine(digest, { signal: AbortSignal.abort(gaveUp) }), gaveUp);
    assert.equal((await listed(store)).length, 1);
    for (const none of notDigests) {
      // A store that looks it up as it is finds nothing.
      const taken = await store.quarantine(none as Digest, { signal }).catch(() => false);
      assert.equal(taken, false);
    }
  }),
];
