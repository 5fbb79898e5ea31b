import assert from 'node:assert/strict';
import type { Contract } from '../contract.ts';
import { blobCase, listed, type MakeBlobStore, readBlob, sample } from './harness.ts';

const gaveUp = new Error('gave up');

/** Rules of `digests` and `delete`. */
export const listingCases: Contract<MakeBlobStore> = [
  blobCase('lists what is stored in ascending order, with sizes and instants', async ({ store, stored }) => {
    const before = Date.now();
    const samples = await Promise.all(
      Array.from({ length: 40 }, (_, at) => stored(sample(at).bytes, at % 3 ? 'sha256' : 'sha512')),
    );
    const after = Date.now();
    const blobs = await listed(store);
    const expected = samples.map(({ digest, bytes }) => ({ digest, size: bytes.byteLength }));
    expected.sort((a, b) => (a.digest < b.digest ? -1 : 1));
    assert.deepEqual(
      blobs.map(({ digest, size }) => ({ digest, size })),
      expected,
    );
    // A service's own clock may differ from ours a little.
    for (const { storedAt } of blobs) assert.ok(storedAt > before - 60_000 && storedAt < after + 60_000);
  }),

  blobCase('goes on listing after any digest, stored or not', async ({ store, stored }) => {
    for (let count = 0; count < 12; count++) await stored(sample(10).bytes, count % 3 ? 'sha256' : 'sha512');
    const all = await listed(store);
    for (const [at, { digest }] of all.entries()) assert.deepEqual(await listed(store, digest), all.slice(at + 1));
    assert.deepEqual(await listed(store, `sha256:${'0'.repeat(64)}`), all);
    assert.deepEqual(await listed(store, `sha512:${'f'.repeat(128)}`), []);
  }),

  blobCase('stops listing when it is left, or its signal fires', async ({ store, stored }) => {
    for (let count = 0; count < 5; count++) await stored(sample(10).bytes);
    const controller = new AbortController();
    for await (const _ of store.digests({ signal: controller.signal })) break;
    let seen = 0;
    await assert.rejects(async () => {
      for await (const _ of store.digests({ signal: controller.signal })) {
        seen++;
        controller.abort(gaveUp);
      }
    }, gaveUp);
    assert.equal(seen, 1);
  }),

  blobCase('lists every blob that stays while others come and go', async ({ store, signal, stored }) => {
    const kept = await Promise.all(Array.from({ length: 20 }, () => stored(sample(10).bytes)));
    const dropped = await Promise.all(Array.from({ length: 20 }, () => stored(sample(10).bytes)));
    const seen = new Set<string>();
    for await (const { digest } of store.digests({ signal })) {
      seen.add(digest);
      const gone = dropped.pop();
      if (gone) await store.delete(gone.digest, { signal });
      await stored(sample(10).bytes);
    }
    for (const { digest } of kept) assert.ok(seen.has(digest), `${digest} was not listed`);
  }),

  blobCase('deletes a blob once', async ({ store, signal, stored }) => {
    const { digest } = await stored(sample(10).bytes);
    assert.equal(await store.delete(digest, { signal }), true);
    assert.equal(await store.open(digest, { signal }), undefined);
    assert.equal(await store.delete(digest, { signal }), false);
  }),

  blobCase('stores a blob anew after it was deleted', async ({ store, signal, stored }) => {
    const { digest, bytes } = await stored(sample(10).bytes);
    await store.delete(digest, { signal });
    await stored(bytes);
    assert.deepEqual(await readBlob(store, digest), bytes);
  }),

  blobCase('spares what was stored after an instant', async ({ store, signal, stored }) => {
    const { digest } = await stored(sample(10).bytes);
    const storedAt = (await listed(store))[0]?.storedAt ?? Number.NaN;
    assert.equal(await store.delete(digest, { unlessStoredAfter: storedAt - 1, signal }), false);
    assert.notEqual(await readBlob(store, digest), undefined);
    assert.equal(await store.delete(digest, { unlessStoredAfter: storedAt, signal }), true);
  }),

  blobCase('does nothing for a caller that has given up', async ({ store, stored }) => {
    const { digest } = await stored(sample(10).bytes);
    const signal = AbortSignal.abort(gaveUp);
    await assert.rejects(store.open(digest, { signal }), gaveUp);
    await assert.rejects(store.delete(digest, { signal }), gaveUp);
    assert.equal((await listed(store)).length, 1);
  }),
];
