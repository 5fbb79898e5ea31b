import { readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { fileStorage, memoryStorage, type ProxyCacheEvent, type ScrubReport, type Storage } from '@proxycache/core';
import { type FlakyStorage, flakyStore, gate, openFiles, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startCache, startPair } from '../semantics/cache-under-test.ts';
import { flipByte } from './rot.ts';

const MiB = 1024 * 1024;
const often = { interval: 2, timeout: 15_000 };
const tagPath = '/v2/up/team/app/manifests/1';
const blobPath = (digest: string) => `/v2/up/team/app/blobs/${digest}`;
const fileOf = (cache: CacheUnderTest, digest: string) => join(cache.directory, 'blobs', digest.replace(':', '/'));

/** A cache that has an image whole: a manifest, a config and two layers. */
async function startStored() {
  let storage!: FlakyStorage;
  const wrapStorage = (given: Storage) => {
    storage = flakyStore(given);
    return storage;
  };
  const { upstream, cache } = await startPair({ mount: { wrapStorage } });
  const image = upstream.addImage('team/app', { tag: '1', layerSizes: [2 * MiB, 1000] });
  await pull(cache, image);
  await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(3);
  return { upstream, cache, image, storage: () => storage };
}

async function pull(cache: CacheUnderTest, image: { root: { digest: string }; blobs: readonly { digest: string }[] }) {
  expect(digestOfBody((await cache.get(tagPath)).body)).toBe(image.root.digest);
  for (const { digest } of image.blobs) expect(digestOfBody((await cache.get(blobPath(digest))).body)).toBe(digest);
}

test('a scrub finds what rotted, and the next pull fetches that and nothing else', async () => {
  const { upstream, cache, image, storage } = await startStored();
  const wrong = [image.root.digest, image.layers[0]!.digest];
  for (const digest of wrong) flipByte(fileOf(cache, digest));
  const progress: ScrubReport[] = [];
  const report = await cache.cache.scrub({ onProgress: (soFar) => progress.push(soFar) });
  expect(report.blobs).toMatchObject({ checked: 4, flawed: 2 });
  expect(new Set(report.blobs.wrong.map(({ digest }) => digest))).toEqual(new Set(wrong));
  expect(report.blobs.wrong.every(({ quarantined, reason }) => quarantined && reason === 'wrong-bytes')).toBe(true);
  expect(report.records.checked).toBeGreaterThan(4);
  expect(report.records.damaged).toBe(0);
  expect(progress.at(-1)).toMatchObject({ blobs: { checked: 4 }, records: report.records });
  expect(cache.seen('blob-quarantined')).toHaveLength(2);
  expect(cache.seen('scrub-ended')).toMatchObject([{ outcome: 'finished', blobs: 4, flawed: 2, damaged: 0 }]);
  expect(readdirSync(join(cache.directory, 'quarantine/sha256'))).toHaveLength(2);
  await cache.clock.advance(1_000);
  expect(storage().openBlobs()).toBe(0);

  await cache.restart();
  upstream.clear();
  await pull(cache, image);
  expect(upstream.count({ method: 'GET' })).toBe(2);
  await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(4);
  expect((await cache.cache.scrub()).blobs).toMatchObject({ checked: 4, flawed: 0 });
  await expect.poll(() => cache.clock.advance(1_000).then(() => openFiles(cache.directory))).toEqual([]);
});

test('a scrub removes damaged records, and they are learnt anew', async () => {
  const { upstream, cache, image } = await startStored();
  await cache.restart();
  const metadata = join(cache.directory, 'metadata');
  const records = readdirSync(metadata, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  for (const { parentPath, name } of records) truncateSync(join(parentPath, name), 20);
  const { records: found, blobs } = await cache.cache.scrub();
  expect(found).toEqual({ checked: records.length, damaged: records.length });
  expect(blobs).toMatchObject({ checked: 4, flawed: 0 });
  await pull(cache, image);
  await cache.restart();
  expect((await cache.cache.scrub()).records.damaged).toBe(0);
  await upstream.stop();
  await pull(cache, image);
});

test('pulls go on while a scrub runs, and a second call joins it', async () => {
  const { upstream, cache, image, storage } = await startStored();
  const held = gate();
  storage().on('blobs.read', { gate: held, times: 1 });
  const first = cache.cache.scrub();
  await held.reached;
  const second = cache.cache.scrub();
  const added = upstream.putBlob('team/app', seededBytes('meanwhile', MiB));
  await pull(cache, image);
  expect(digestOfBody((await cache.get(blobPath(added))).body)).toBe(added);
  held.open();
  expect(await second).toEqual(await first);
  expect(cache.seen('scrub-ended')).toHaveLength(1);
});

test('one who leaves ends its own wait; the scrub ends with the last, and another may run', async () => {
  const { cache, storage } = await startStored();
  const held = gate();
  storage().on('blobs.read', { gate: held, times: 1 });
  const [one, two] = [new AbortController(), new AbortController()];
  const first = cache.cache.scrub({ signal: one.signal });
  await held.reached;
  const second = cache.cache.scrub({ signal: two.signal });
  one.abort(new Error('one left'));
  await expect(first).rejects.toThrow('one left');
  expect(cache.seen('scrub-ended')).toEqual([]);
  two.abort(new Error('two left'));
  await expect(second).rejects.toThrow('two left');
  const third = cache.cache.scrub();
  held.open();
  expect((await third).blobs).toMatchObject({ checked: 4, flawed: 0 });
  expect(cache.seen('scrub-ended').map(({ outcome }) => outcome)).toEqual(['stopped', 'finished']);
  expect(storage().openBlobs()).toBe(0);
});

test('closing ends it, and a closed cache scrubs no more', async () => {
  const { cache, storage } = await startStored();
  const held = gate();
  storage().on('blobs.read', { gate: held, times: 1 });
  const scrubbing = cache.cache.scrub();
  await held.reached;
  const closing = cache.cache.close();
  await expect(cache.cache.scrub()).rejects.toMatchObject({ code: 'closed' });
  held.open();
  await expect(scrubbing).rejects.toMatchObject({ code: 'closed' });
  await closing;
  expect(cache.seen('scrub-ended')).toMatchObject([{ outcome: 'stopped' }]);
  expect(storage().openBlobs()).toBe(0);
});

test('it reads no faster than it is told, and waits for nothing once it was left', async () => {
  const { cache } = await startStored();
  const startedAt = cache.clock.monotonic();
  const scrubbing = cache.cache.scrub({ bytesPerSecond: MiB });
  let done = false;
  void scrubbing.then(() => {
    done = true;
  });
  await expect.poll(() => cache.clock.advance(50).then(() => done), often).toBe(true);
  const { blobs, durationMs } = await scrubbing;
  expect(durationMs).toBeGreaterThanOrEqual((blobs.bytes / MiB) * 1000);
  expect(cache.clock.monotonic() - startedAt).toBeLessThan((blobs.bytes / MiB) * 1000 + 10_000);

  const caller = new AbortController();
  const left = cache.cache.scrub({ bytesPerSecond: 1, signal: caller.signal });
  await cache.clock.untilPending(1);
  caller.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  await expect.poll(() => cache.seen('scrub-ended')).toHaveLength(2);
});

test('of two who wait for it, the one who wants it slower has that as long as it waits', async () => {
  const { cache, storage } = await startStored();
  const held = gate();
  storage().on('blobs.read', { gate: held, times: 1 });
  const fast = cache.cache.scrub();
  await held.reached;
  const caller = new AbortController();
  const slow = cache.cache.scrub({ bytesPerSecond: 1, signal: caller.signal });
  held.open();
  await cache.clock.untilPending(1);
  expect(cache.seen('scrub-ended')).toEqual([]);
  caller.abort(new Error('left'));
  await expect(slow).rejects.toThrow('left');
  await cache.clock.advance(1_000);
  expect((await fast).blobs).toMatchObject({ checked: 4, flawed: 0 });
});

test.each([
  [{ bytesPerSecond: 0 }, 'scrub: bytesPerSecond: expected a whole number from 1, received 0'],
  [{ onProgress: 1 as never }, 'scrub: onProgress: expected a function, received 1'],
])('%j is refused', async (options, message) => {
  const { cache } = await startPair();
  await expect(cache.cache.scrub(options)).rejects.toMatchObject({ code: 'invalid-options', message });
});

test('what onProgress throws is dropped', async () => {
  const { cache } = await startStored();
  const onProgress = () => {
    throw new Error('not mine');
  };
  expect((await cache.cache.scrub({ onProgress })).blobs.checked).toBe(4);
});

describe('a store that is away', () => {
  test.each(['blobs.digests', 'blobs.open', 'blobs.read', 'metadata.list', 'metadata.get'] as const)(
    'ends the scrub with an error, and loses nothing (%s)',
    async (operation) => {
      const { upstream, cache, image, storage } = await startStored();
      await cache.restart();
      for (const trouble of [{ fail: 'the disk is gone' }, { hang: 'deaf' }] as const) {
        storage().on(operation, trouble);
        const scrubbing = cache.cache.scrub().catch((error: unknown) => error);
        let error: unknown;
        void scrubbing.then((came) => {
          error = came;
        });
        await expect.poll(() => cache.clock.advance(1_000).then(() => error), often).toBeDefined();
        if ('fail' in trouble) expect(error).toBeInstanceOf(Error);
        else expect(error).toMatchObject({ code: 'storage-failed' });
        storage().heal();
        await cache.clock.advance(20_000);
      }
      expect(cache.seen('scrub-ended').map(({ outcome }) => outcome)).toEqual(['failed', 'failed']);
      expect(cache.seen('blob-quarantined')).toEqual([]);
      expect((await cache.cache.scrub()).blobs).toMatchObject({ checked: 4, flawed: 0 });
      await upstream.stop();
      await pull(cache, image);
      await expect.poll(() => cache.clock.advance(1_000).then(() => storage().openBlobs())).toBe(0);
    },
  );
});

test('two processes on one folder scrub it at once: each wrong blob goes once, and no right one', async () => {
  const { cache, image } = await startStored();
  flipByte(fileOf(cache, image.layers[0]!.digest));
  const events: ProxyCacheEvent[] = [];
  const storage = fileStorage(cache.directory, { clock: cache.clock });
  const other = await startCache({
    upstreams: [{ key: 'up', url: 'http://127.0.0.1:9' }],
    storage,
    clock: cache.clock,
    observer: (event) => events.push(event),
  });
  const reports = await Promise.all([cache, other].map(({ cache: one }) => one.scrub()));
  const taken = reports.flatMap(({ blobs }) => blobs.wrong.filter(({ quarantined }) => quarantined));
  expect(taken.map(({ digest }) => digest)).toEqual([image.layers[0]!.digest]);
  expect(readdirSync(join(cache.directory, 'quarantine/sha256'))).toHaveLength(1);
  expect(readdirSync(join(cache.directory, 'blobs/sha256'))).toHaveLength(3);
  await pull(cache, image);
  await expect.poll(() => readdirSync(join(cache.directory, 'blobs/sha256'))).toHaveLength(4);
  expect(events.filter(({ type }) => type === 'scrub-ended')).toHaveLength(1);
});

test('the event loop goes on while a large blob in memory is hashed', async () => {
  const storage = memoryStorage();
  const { upstream, cache } = await startPair({ cache: { storage } });
  const digest = upstream.putBlob('team/app', seededBytes('large', 48 * MiB));
  await cache.get(blobPath(digest));
  await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(1);
  let turns = 0;
  let done = false;
  const count = () => {
    turns++;
    if (!done) setImmediate(count);
  };
  count();
  await cache.cache.scrub();
  done = true;
  expect(turns).toBeGreaterThanOrEqual(48);
});
