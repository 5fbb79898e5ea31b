import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Digest, fileBlobs, memoryStorage, type Storage, tiered } from '@proxycache/core';
import { type FlakyStorage, flakyStore, manualClock, openFiles, seededBytes } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { type CacheUnderTest, digestOfBody, startPair } from '../semantics/cache-under-test.ts';
import { flipByte, keepingTime } from './rot.ts';

const MiB = 1024 * 1024;
const size = 2 * MiB;
const gets = { method: 'GET', path: /\/blobs\// };

async function startVerifying(options: Parameters<typeof startPair>[0] = {}) {
  let storage!: FlakyStorage;
  const wrapStorage = (given: Storage) => {
    storage = flakyStore(given);
    return storage;
  };
  const pair = await startPair({ cache: { verifyOnRead: 'first' }, ...options, mount: { wrapStorage } });
  const image = pair.upstream.addImage('team/app', { tag: '1', layerSizes: [size, 1000] });
  return { ...pair, image, layer: image.layers[0]!.digest, storage: () => storage };
}

const blobPath = (digest: string) => `/v2/up/team/app/blobs/${digest}`;
const fileOf = (cache: CacheUnderTest, digest: string) => join(cache.directory, 'blobs', digest.replace(':', '/'));

/** Pulls a blob, and waits until it is stored. */
async function pullInto(cache: CacheUnderTest, digest: string): Promise<void> {
  const stored = cache.seen('ingest-ended').length;
  await cache.get(blobPath(digest));
  await expect.poll(() => cache.seen('ingest-ended').slice(stored)).toMatchObject([{ outcome: 'stored' }]);
}

/** The contents of the files in quarantine. */
function inQuarantine(cache: CacheUnderTest): Buffer[] {
  const folder = join(cache.directory, 'quarantine/sha256');
  return readdirSync(folder).map((name) => readFileSync(join(folder, name)));
}

/** What was read is open for another second. */
async function noLongerShared(cache: CacheUnderTest, storage: FlakyStorage): Promise<void> {
  await expect.poll(() => cache.clock.advance(1_000).then(() => storage.openBlobs())).toBe(0);
}

type Flaw = (file: string, storage: FlakyStorage) => void;
const flaws: Record<string, Flaw> = {
  missing: (file) => rmSync(file),
  empty: (file) => keepingTime(file, () => truncateSync(file)),
  truncated: (file) => keepingTime(file, () => truncateSync(file, statSync(file).size - 1)),
  longer: (file) => keepingTime(file, () => appendFileSync(file, 'x')),
  'wrong in its first byte': (file) => flipByte(file, 0),
  'wrong in its last byte': (file) => flipByte(file),
  'a folder': (file) => {
    rmSync(file);
    mkdirSync(file);
    writeFileSync(join(file, 'in-it'), 'something');
  },
  'unreadable once it was opened': (_, storage) => storage.on('blobs.read', { fail: 'EIO', times: 1 }),
  'unreadable at all': (_, storage) => storage.on('blobs.open', { fail: 'EIO', times: 1 }),
};
const kept = ['empty', 'truncated', 'longer', 'wrong in its first byte', 'wrong in its last byte'];

describe.each(Object.entries(flaws))('a stored blob that is %s', (what, flaw) => {
  test.each(['after a restart', 'in the process that stored it'])('is fetched again, %s', async (when) => {
    const { upstream, cache, storage, layer } = await startVerifying();
    await cache.get('/v2/up/team/app/manifests/1');
    await pullInto(cache, layer);
    if (when === 'after a restart') await cache.restart();
    const was = readFileSync(fileOf(cache, layer));
    flaw(fileOf(cache, layer), storage());
    upstream.clear();
    const endings = cache.seen('ingest-ended').length;
    const got = await cache.get(blobPath(layer));
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, layer]);
    expect(upstream.count(gets)).toBe(1);
    await expect.poll(() => cache.seen('ingest-ended').slice(endings)).toMatchObject([{ outcome: 'stored' }]);
    expect(readFileSync(fileOf(cache, layer)).equals(was)).toBe(true);

    const told = cache.seen('blob-quarantined');
    expect(told.map(({ digest, reason }) => [digest, reason])).toEqual(
      kept.includes(what) ? [[layer, 'wrong-bytes']] : [],
    );
    if (kept.includes(what)) expect(inQuarantine(cache).map((bytes) => bytes.equals(was))).toEqual([false]);
    if (what.startsWith('unreadable')) expect(cache.seen('store-failed').length).toBeGreaterThan(0);

    upstream.clear();
    for (const _ of ['again', 'and again']) {
      const next = await cache.get(blobPath(layer));
      expect([next.headers['cache-status'], digestOfBody(next.body)]).toEqual(['proxycache; hit', layer]);
    }
    await upstream.stop();
    await cache.restart();
    expect(digestOfBody((await cache.get(blobPath(layer))).body)).toBe(layer);
    expect(upstream.count()).toBe(0);
    await noLongerShared(cache, storage());
    await expect.poll(() => openFiles(cache.directory)).toEqual([]);
  });

  test('is fetched again where its manifest is meant', async () => {
    const { upstream, cache, storage, image } = await startVerifying({ cache: {} });
    const { digest } = image.root;
    await cache.get('/v2/up/team/app/manifests/1');
    await cache.restart();
    const was = readFileSync(fileOf(cache, digest));
    flaw(fileOf(cache, digest), storage());
    upstream.clear();
    const byDigest = `/v2/up/team/app/manifests/${digest}`;
    expect(digestOfBody((await cache.get(byDigest)).body)).toBe(digest);
    expect(upstream.count({ method: 'GET', path: /\/manifests\// })).toBe(1);
    await upstream.stop();
    await cache.restart();
    expect(digestOfBody((await cache.get(byDigest)).body)).toBe(digest);
    expect(readFileSync(fileOf(cache, digest)).equals(was)).toBe(true);
    expect(cache.seen('blob-quarantined')).toHaveLength(inQuarantine(cacheWithFiles(cache, what)).length);
  });
});

/** A folder that was in the way is no wrong blob: it is put aside all the same, and no event is about it. */
function cacheWithFiles(cache: CacheUnderTest, what: string): CacheUnderTest {
  if (what === 'a folder') rmSync(join(cache.directory, 'quarantine/sha256'), { recursive: true });
  if (what === 'a folder') mkdirSync(join(cache.directory, 'quarantine/sha256'));
  return cache;
}

describe('verifyOnRead: first', () => {
  test('hashes a blob once after each start, for all that ask at a time', async () => {
    const { cache, storage, layer } = await startVerifying();
    await pullInto(cache, layer);
    for (let start = 0; start < 2; start++) {
      await cache.restart();
      const before = storage().bytesRead();
      const range = { headers: { range: 'bytes=0-9' } };
      const asking = [
        ...Array.from({ length: 5 }, () => cache.get(blobPath(layer), range)),
        ...Array.from({ length: 5 }, () => cache.get(blobPath(layer), { headers: { range: 'bytes=5-9' } })),
      ];
      for (const { status } of await Promise.all(asking)) expect([200, 206]).toContain(status);
      const hashedAndGiven = size + 5 * 10 + 5 * 5;
      expect(storage().bytesRead() - before).toBe(hashedAndGiven);
      await cache.get(blobPath(layer));
      expect(storage().bytesRead() - before).toBe(hashedAndGiven + size);
    }
  });

  test('never hashes one where it is not wanted', async () => {
    const { cache, storage, layer } = await startVerifying({ cache: {} });
    await pullInto(cache, layer);
    await cache.restart();
    await cache.get(blobPath(layer), { headers: { range: 'bytes=0-9' } });
    expect(storage().bytesRead()).toBe(10);
  });

  test('does not read a blob for a HEAD, unless its size is another than was told', async () => {
    const { cache, storage, layer } = await startVerifying();
    await cache.get('/v2/up/team/app/manifests/1');
    await pullInto(cache, layer);
    await cache.restart();
    const before = storage().bytesRead();
    expect((await cache.head(blobPath(layer))).headers['content-length']).toBe(String(size));
    expect(storage().bytesRead() - before).toBe(0);
    await noLongerShared(cache, storage());
    keepingTime(fileOf(cache, layer), () => truncateSync(fileOf(cache, layer), size - 1));
    expect((await cache.head(blobPath(layer))).headers['content-length']).toBe(String(size));
    expect(cache.seen('blob-quarantined')).toMatchObject([{ digest: layer }]);
  });

  test('serves no byte of a wrong blob to any of many that ask at a time, and fetches it once', async () => {
    const { upstream, cache, layer } = await startVerifying();
    await pullInto(cache, layer);
    await cache.restart();
    flipByte(fileOf(cache, layer), size - 1);
    upstream.clear();
    const all = await Promise.all(Array.from({ length: 8 }, () => cache.get(blobPath(layer))));
    expect(new Set(all.map(({ body }) => digestOfBody(body)))).toEqual(new Set([layer]));
    expect(upstream.count(gets)).toBe(1);
    expect(cache.seen('blob-quarantined')).toHaveLength(1);
  });

  test('answers a range of a wrong blob right, and a HEAD too', async () => {
    const { upstream, cache, layer } = await startVerifying();
    await pullInto(cache, layer);
    const bytes = Buffer.from(upstream.blob('team/app', layer)!);
    for (const range of [undefined, 'bytes=0-9', 'bytes=100-', 'bytes=0-1,5-6']) {
      await cache.restart();
      flipByte(fileOf(cache, layer), 5);
      if (range === undefined) {
        const head = await cache.head(blobPath(layer));
        expect([head.status, head.headers['content-length']]).toEqual([200, String(size)]);
      } else {
        const got = await cache.get(blobPath(layer), { headers: { range } });
        expect([got.status, got.failure]).toEqual([206, undefined]);
        if (range === 'bytes=0-9') expect(got.body.equals(bytes.subarray(0, 10))).toBe(true);
        if (range === 'bytes=100-') expect(got.body.equals(bytes.subarray(100))).toBe(true);
      }
      expect(digestOfBody((await cache.get(blobPath(layer))).body)).toBe(layer);
      await expect.poll(() => readdirSync(join(cache.directory, 'blobs/sha256'))).toContain(layer.slice(7));
    }
  });

  test('a client that leaves while its blob is hashed ends its own wait only', async () => {
    const { upstream, cache, storage, layer } = await startVerifying();
    await pullInto(cache, layer);
    await cache.restart();
    upstream.clear();
    storage().on('blobs.read', { hang: true });
    const before = storage().bytesRead();
    const leaver = new AbortController();
    const first = cache.get(blobPath(layer), { signal: leaver.signal });
    await expect.poll(() => storage().calls('blobs.read')).toBe(before + 1);
    // From now on the store is asked for it again.
    await cache.clock.advance(1_000);
    const second = cache.get(blobPath(layer));
    await expect.poll(() => storage().openBlobs()).toBe(3);
    leaver.abort();
    await expect(first).rejects.toThrow();
    await expect.poll(() => storage().openBlobs()).toBe(2);
    storage().heal();
    expect(digestOfBody((await second).body)).toBe(layer);
    expect(upstream.count()).toBe(0);
    expect(cache.seen('store-failed')).toEqual([]);

    await cache.restart();
    storage().on('blobs.read', { hang: true });
    const alone = new AbortController();
    const only = cache.get(blobPath(layer), { signal: alone.signal });
    await expect.poll(() => storage().openBlobs()).toBe(2);
    alone.abort();
    await expect(only).rejects.toThrow();
    // The hash goes on, for the next one.
    await expect.poll(() => storage().openBlobs()).toBe(1);
    storage().heal();
    await noLongerShared(cache, storage());
    expect(digestOfBody((await cache.get(blobPath(layer))).body)).toBe(layer);
  });

  test('a wrong blob that cannot be put aside is replaced all the same', async () => {
    const { cache, storage, layer } = await startVerifying();
    await pullInto(cache, layer);
    await cache.restart();
    flipByte(fileOf(cache, layer), 0);
    storage().on('blobs.quarantine', { fail: 'not allowed' });
    expect(digestOfBody((await cache.get(blobPath(layer))).body)).toBe(layer);
    const stored = { outcome: 'stored' };
    await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([stored, stored]);
    expect(cache.seen('store-failed')).toMatchObject([{ operation: 'quarantine', subject: layer }]);
    expect(digestOfBody(readFileSync(fileOf(cache, layer)))).toBe(layer);
  });

  test('a blob that cannot be closed costs no pull', async () => {
    const { upstream, cache, storage, layer } = await startVerifying();
    await pullInto(cache, layer);
    await cache.restart();
    upstream.clear();
    const { blobs } = storage();
    const { open } = blobs;
    blobs.open = async (digest, options) => {
      const blob = await open(digest, options);
      const close = async () => {
        await blob?.close();
        throw new Error('EIO');
      };
      return blob && { ...blob, close };
    };
    expect(digestOfBody((await cache.get(blobPath(layer))).body)).toBe(layer);
    expect((await cache.head(blobPath(layer))).status).toBe(200);
    expect(upstream.count()).toBe(0);
    expect(cache.seen('store-failed')).toContainEqual(expect.objectContaining({ operation: 'close' }));
  });

  test('verifies what a store gives as a stream, and reads it anew to serve it', async () => {
    const memory = memoryStorage({ clock: manualClock() });
    let opened = 0;
    const open: Storage['blobs']['open'] = async (digest, { range, signal }) => {
      const blob = await memory.blobs.open(digest, { signal });
      if (blob?.kind !== 'file') return undefined;
      opened++;
      const { from, to } = range ?? { from: 0, to: blob.size - 1 };
      const bytes = Buffer.alloc(to - from + 1);
      await blob.read(bytes, from);
      const body = (async function* () {
        yield bytes;
      })();
      return { kind: 'stream', size: blob.size, body, close: blob.close };
    };
    const storage = flakyStore({ ...memory, blobs: { ...memory.blobs, open } });
    const { upstream, cache } = await startPair({ cache: { storage, verifyOnRead: 'first' } });
    const bytes = Buffer.from(seededBytes('stream', size));
    const digest = upstream.putBlob('team/app', bytes) as Digest;
    await pullInto(cache, digest);
    await cache.restart();
    upstream.clear();
    expect((await cache.get(blobPath(digest))).body.equals(bytes)).toBe(true);
    const part = await cache.get(blobPath(digest), { headers: { range: 'bytes=5-9' } });
    expect(part.body.equals(bytes.subarray(5, 10))).toBe(true);
    expect([upstream.count(gets), opened]).toEqual([0, 5]);

    await cache.restart();
    const { signal } = new AbortController();
    await memory.blobs.delete(digest, { signal });
    await memory.blobs.put({ digest, bytes: Buffer.from(bytes).fill(0, 9, 10), signal });
    expect((await cache.get(blobPath(digest))).body.equals(bytes)).toBe(true);
    expect(cache.seen('blob-quarantined')).toMatchObject([{ digest, size, reason: 'wrong-bytes' }]);
    await noLongerShared(cache, storage);
  });
});

test('a copy that rotted on the local disk of a tiered store failed a pull while its upstream was down', async () => {
  const [clock, folder] = [manualClock(), makeTemporaryFolder('tiers')];
  const memory = memoryStorage({ clock });
  onTestFinished(() => removeFolder(folder));
  const storage = { ...memory, blobs: tiered({ local: fileBlobs(folder, { clock }), remote: memory.blobs, clock }) };
  const { upstream, cache } = await startPair({ cache: { storage, verifyOnRead: 'first' } });
  const bytes = Buffer.from(seededBytes('tiers', size));
  const digest = upstream.putBlob('team/app', bytes) as Digest;
  await pullInto(cache, digest);
  flipByte(join(folder, 'blobs', digest.replace(':', '/')));
  await cache.restart();
  await upstream.stop();
  const { status, body } = await cache.get(blobPath(digest));
  expect([status, body.equals(bytes)]).toEqual([200, true]);
  expect(cache.seen('blob-quarantined')).toMatchObject([{ digest, reason: 'wrong-bytes' }]);
});

describe('a scrub called tiered stores sound of which it had read the local copies alone', () => {
  const { signal } = new AbortController();

  async function startTiers() {
    const [clock, folder] = [manualClock(), makeTemporaryFolder('tiers')];
    const memory = memoryStorage({ clock });
    onTestFinished(() => removeFolder(folder));
    const blobs = tiered({ local: fileBlobs(folder, { clock }), remote: memory.blobs, clock });
    const { upstream, cache } = await startPair({ cache: { storage: { ...memory, blobs } } });
    const bytes = Buffer.from(seededBytes('tiers', size));
    const digest = upstream.putBlob('team/app', bytes) as Digest;
    await pullInto(cache, digest);
    const file = join(folder, 'blobs', digest.replace(':', '/'));
    const stored = async () => [existsSync(file), (await memory.blobs.open(digest, { signal })) !== undefined];
    return { upstream, cache, bytes, digest, file, remote: memory.blobs, stored };
  }

  const pulled = async (cache: CacheUnderTest, digest: Digest) => (await cache.get(blobPath(digest))).body;
  const flawOf = (digest: Digest) => ({
    flawed: 1,
    wrong: [{ digest, size, reason: 'wrong-bytes', quarantined: true }],
  });

  test('what rotted in the remote store is put aside there, and the local copy serves', async () => {
    const { upstream, cache, bytes, digest, remote, stored } = await startTiers();
    await remote.put({ digest, bytes: Buffer.from(bytes).fill(1, 0, 10), signal });
    expect((await cache.cache.scrub()).blobs).toMatchObject(flawOf(digest));
    expect(cache.seen('blob-quarantined')).toMatchObject([{ digest, reason: 'wrong-bytes' }]);
    expect(await stored()).toEqual([true, false]);
    await upstream.stop();
    expect((await pulled(cache, digest)).equals(bytes)).toBe(true);
  });

  test('what rotted on the local disk is put aside there, though it is younger than what the remote store has', async () => {
    const { upstream, cache, bytes, digest, file, stored } = await startTiers();
    flipByte(file);
    const nextYear = Date.UTC(2027) / 1000;
    utimesSync(file, nextYear, nextYear);
    expect((await cache.cache.scrub()).blobs).toMatchObject(flawOf(digest));
    expect(await stored()).toEqual([false, true]);
    expect((await cache.cache.scrub()).blobs).toMatchObject({ checked: 1, flawed: 0 });
    // Nothing was filled in.
    expect(await stored()).toEqual([false, true]);
    await upstream.stop();
    expect((await pulled(cache, digest)).equals(bytes)).toBe(true);
  });
});
