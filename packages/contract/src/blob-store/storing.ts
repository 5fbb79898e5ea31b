import assert from 'node:assert/strict';
import type { Contract } from '../contract.ts';
import { blobCase, isThere, listed, type MakeBlobStore, readBlob, readOpen, sample } from './harness.ts';
import { notDigests } from './reading.ts';

const gaveUp = new Error('gave up');

/** Rules of `adopt` and `put`. */
export const storingCases: Contract<MakeBlobStore> = [
  blobCase('gives back what was put', async ({ store, stored }) => {
    const { digest, bytes } = await stored(sample(1_000).bytes);
    assert.deepEqual(await readBlob(store, digest), bytes);
  }),

  blobCase('keeps sha512 beside sha256', async ({ store, stored }) => {
    const { bytes } = sample(100);
    const short = await stored(bytes);
    const long = await stored(bytes, 'sha512');
    assert.deepEqual(await readBlob(store, long.digest), bytes);
    assert.deepEqual(
      (await listed(store)).map(({ digest }) => digest),
      [short.digest, long.digest],
    );
  }),

  blobCase('keeps its own copy of what was put', async ({ store, signal }) => {
    const { digest, bytes } = sample(100);
    const reused = Buffer.from(bytes);
    await store.put({ digest, bytes: reused, signal });
    reused.fill(0);
    assert.deepEqual(await readBlob(store, digest), bytes);
  }),

  blobCase('takes a file it adopts: its bytes are stored and the file is gone', async ({ store, signal, spool }) => {
    const { digest, bytes } = sample(100_000);
    const file = await spool(bytes);
    await store.adopt({ file, digest, size: bytes.byteLength, signal });
    assert.equal(isThere(file), false);
    assert.deepEqual(await readBlob(store, digest), bytes);
  }),

  blobCase('stores a blob again without harm, and takes the file all the same', async ({ store, signal, spool }) => {
    const { digest, bytes } = sample(1_000);
    const blob = { digest, bytes, size: bytes.byteLength, signal };
    await store.put(blob);
    await store.put(blob);
    const file = await spool(bytes);
    await store.adopt({ ...blob, file });
    assert.equal(isThere(file), false);
    assert.deepEqual(await readBlob(store, digest), bytes);
    assert.equal((await listed(store)).length, 1);
  }),

  blobCase('stores verified bytes in the place of rotten ones, and disturbs no reader of those', async (fixture) => {
    const { store, signal, spool } = fixture;
    const { digest, bytes } = sample(300_000);
    const rotten = Buffer.from(bytes).fill(0, 100, 200);
    const storeAnew = {
      adopt: async () => store.adopt({ file: await spool(bytes), digest, size: bytes.byteLength, signal }),
      put: () => store.put({ digest, bytes, signal }),
    };
    for (const [how, anew] of Object.entries(storeAnew)) {
      // A store compares no bytes.
      await store.put({ digest, bytes: rotten, signal });
      const reader = await store.open(digest, { signal });
      assert.ok(reader);
      await anew();
      assert.deepEqual(await readBlob(store, digest), bytes, how);
      assert.deepEqual(await readOpen(reader), rotten, how);
      await reader.close();
    }
  }),

  blobCase('takes files of one blob from several writers at a time', async ({ store, signal, spool }) => {
    const { digest, bytes } = sample(500_000);
    const files = await Promise.all(Array.from({ length: 8 }, () => spool(bytes)));
    await Promise.all(files.map((file) => store.adopt({ file, digest, size: bytes.byteLength, signal })));
    assert.deepEqual(files.filter(isThere), []);
    assert.deepEqual(await readBlob(store, digest), bytes);
  }),

  blobCase('takes many blobs at the same time, and keeps each apart', async ({ store, signal, spool }) => {
    const samples = Array.from({ length: 24 }, (_, at) => sample(at * 10_000));
    await Promise.all(
      samples.map(async ({ digest, bytes }, at) =>
        at % 2
          ? store.put({ digest, bytes, signal })
          : store.adopt({ file: await spool(bytes), digest, size: bytes.byteLength, signal }),
      ),
    );
    const read = await Promise.all(samples.map(({ digest }) => readBlob(store, digest)));
    assert.deepEqual(
      read,
      samples.map(({ bytes }) => bytes),
    );
    assert.equal((await listed(store)).length, samples.length);
  }),

  blobCase('has a blob whole or not at all that is stored and deleted at the same time', async (fixture) => {
    const { store, signal, spool } = fixture;
    for (let round = 0; round < 5; round++) {
      const { digest, bytes } = sample(200_000);
      const file = await spool(bytes);
      await Promise.all([
        store.adopt({ file, digest, size: bytes.byteLength, signal }),
        store.delete(digest, { signal }),
        store.put({ digest, bytes, signal }),
        store.delete(digest, { signal }),
      ]);
      assert.equal(isThere(file), false);
      const read = await readBlob(store, digest);
      if (read) assert.deepEqual(read, bytes);
      const isListed = (await listed(store)).some((blob) => blob.digest === digest);
      assert.equal(isListed, read !== undefined, 'what is listed is there, and nothing else');
    }
  }),

  blobCase('shows a blob whole or not at all while it is stored', async ({ store, signal, spool }) => {
    const { digest, bytes } = sample(8 * 1024 * 1024);
    const file = await spool(bytes);
    let stored = false;
    const storing = store.adopt({ file, digest, size: bytes.byteLength, signal }).finally(() => {
      stored = true;
    });
    while (!stored) {
      const blob = await store.open(digest, { signal });
      if (blob) assert.equal(blob.size, bytes.byteLength);
      await blob?.close();
      for (const { size } of await listed(store)) assert.equal(size, bytes.byteLength);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await storing;
    assert.deepEqual(await readBlob(store, digest), bytes);
  }),

  blobCase('leaves the file untouched and stores nothing when the caller has given up', async (fixture) => {
    const { store, spool } = fixture;
    const { digest, bytes } = sample(1_000);
    const file = await spool(bytes);
    const signal = AbortSignal.abort(gaveUp);
    await assert.rejects(store.adopt({ file, digest, size: bytes.byteLength, signal }), gaveUp);
    assert.equal(isThere(file), true);
    await assert.rejects(store.put({ digest, bytes, signal }), gaveUp);
    assert.deepEqual(await listed(store), []);
  }),

  blobCase('takes the file or leaves it when the caller gives up meanwhile', async ({ store, spool }) => {
    const { digest, bytes } = sample(4 * 1024 * 1024);
    const file = await spool(bytes);
    const controller = new AbortController();
    const adopting = store.adopt({ file, digest, size: bytes.byteLength, signal: controller.signal });
    controller.abort(gaveUp);
    const adopted = await adopting.then(
      () => true,
      () => false,
    );
    assert.equal(isThere(file), !adopted, 'a file is gone on success, untouched on a throw');
    assert.deepEqual(await readBlob(store, digest), adopted ? bytes : undefined);
  }),

  blobCase('stores nothing of a file that is not there', async ({ store, signal, spool }) => {
    const { digest, bytes } = sample(10);
    const file = `${await spool(bytes)}-missing`;
    await assert.rejects(store.adopt({ file, digest, size: 10, signal }));
    assert.deepEqual(await listed(store), []);
  }),

  blobCase('refuses to store by what is no digest', async ({ store, signal, spool }) => {
    const bytes = Buffer.from('bytes');
    for (const digest of notDigests) {
      const file = await spool(bytes);
      await assert.rejects(store.put({ digest, bytes, signal }), digest);
      await assert.rejects(store.adopt({ file, digest, size: bytes.byteLength, signal }), digest);
      assert.equal(isThere(file), true);
    }
  }),
];
