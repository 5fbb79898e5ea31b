import { mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { localCoordinator, memoryStorage, type Storage } from '@proxycache/core';
import {
  type FlakyStorage,
  flakyStore,
  gate,
  manualClock,
  openFiles,
  type StoreOperation,
  seededBytes,
} from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startPair } from './cache-under-test.ts';
import { patient } from './patient.ts';
import type { Got } from './request.ts';

const MiB = 1024 * 1024;
const tagPath = '/v2/up/team/app/manifests/1';
const pathOf = (digest: string) => `/v2/up/team/app/blobs/${digest}`;
const gets = { method: 'GET', path: /\/blobs\// };

async function startFlaky(options: Parameters<typeof startPair>[0] = {}) {
  let storage!: FlakyStorage;
  const wrapStorage = (given: Storage) => {
    storage = flakyStore(given);
    return storage;
  };
  const pair = await startPair({ ...patient, ...options, mount: { wrapStorage } });
  const image = pair.upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB, 1000] });
  return { ...pair, storage: () => storage, image };
}

/** An answer, while the clock goes on as fast as it can. */
async function answered(cache: CacheUnderTest, asking: Promise<Got>): Promise<Got> {
  let got: Got | undefined;
  const done = asking.then((answer) => {
    got = answer;
  });
  for (let i = 0; i < 400 && !got; i++) {
    await cache.clock.advance(100);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await done;
  return got!;
}

const operations = [
  'blobs.open',
  'blobs.read',
  'blobs.adopt',
  'blobs.put',
  'blobs.delete',
  'metadata.get',
  'metadata.getMany',
  'metadata.set',
  'metadata.delete',
  'metadata.list',
] as const satisfies readonly StoreOperation[];

describe('a store that fails never costs a pull', () => {
  test.each(operations.flatMap((operation) => [[operation, 'throws'] as const, [operation, 'hangs'] as const]))(
    '%s %s',
    async (operation, how) => {
      const { cache, storage, image } = await startFlaky();
      const pull = async () => {
        const manifest = await answered(cache, cache.get(tagPath));
        expect(digestOfBody(manifest.body)).toBe(image.root.digest);
        for (const { digest } of image.blobs) {
          const got = await answered(cache, cache.get(pathOf(digest)));
          expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
          expect((await answered(cache, cache.head(pathOf(digest)))).status).toBe(200);
        }
      };
      storage().on(operation, how === 'throws' ? { fail: 'the store is away' } : { hang: 'deaf' });
      // Cold, with what the first left, and after a restart with nothing in memory.
      await pull();
      await pull();
      const before = storage().calls(operation);
      storage().heal();
      await cache.restart();
      storage().on(operation, how === 'throws' ? { fail: 'the store is away' } : { hang: 'deaf' });
      await pull();
      storage().heal();
      await pull();
      await expect.poll(() => cache.clock.advance(1_000).then(() => storage().openBlobs())).toBe(0);
      // These are on no pull's path, or only where something is wrong with what is stored.
      const unused = ['blobs.delete', 'metadata.getMany', 'metadata.delete', 'metadata.list'].includes(operation);
      expect(before + storage().calls(operation) > 0).toBe(!unused);
      // An upload may take its time before it is called a failure.
      const patient = operation === 'blobs.adopt' && how === 'hangs';
      if (!unused && !patient) expect(cache.seen('store-failed')).not.toEqual([]);
    },
  );

  test('a manifest, its proof and its tag are stored at the same time, and all before the answer', async () => {
    const { cache, storage, image } = await startFlaky();
    storage().on('blobs.put', { hang: true });
    let answer: Got | undefined;
    const asking = cache.get(tagPath).then((got) => {
      answer = got;
    });
    // And the repository's name, which is for the catalog alone.
    await expect.poll(() => storage().calls('metadata.set')).toBe(2);
    expect(answer).toBeUndefined();
    storage().heal();
    await asking;
    expect(digestOfBody(answer!.body)).toBe(image.root.digest);
  });

  test('a changed tag is written down only when the new image is stored: a crash never costs both', async () => {
    const { cache, upstream, storage } = await startFlaky();
    await cache.get(tagPath);
    const changed = upstream.addImage('team/app', { tag: '1', seed: 'changed' });
    storage().on('blobs.put', { hang: true });
    const before = storage().calls('metadata.set');
    const asking = cache.get(tagPath);
    // The proof is written down meanwhile, the tag is not.
    await expect.poll(() => storage().calls('metadata.set')).toBe(before + 1);
    await cache.get('/v2/');
    expect(storage().calls('metadata.set')).toBe(before + 1);
    storage().heal();
    expect(digestOfBody((await asking).body)).toBe(changed.root.digest);
    expect(storage().calls('metadata.set')).toBe(before + 2);
  });

  test('hanging to open holds up three pulls for 3 s, and the next not at all', async () => {
    const { cache, storage, image } = await startFlaky();
    const [large, small] = image.layers;
    storage().on('blobs.open', { hang: 'deaf' });
    const first = Array.from({ length: 3 }, () => cache.get(pathOf(large!.digest)));
    await expect.poll(() => storage().calls('blobs.open')).toBe(3);
    await cache.clock.advance(3_000);
    for (const { body } of await Promise.all(first)) expect(digestOfBody(body)).toBe(large!.digest);
    expect(cache.seen('store-failed')).toMatchObject(
      Array.from({ length: 3 }, () => ({ operation: 'open', subject: large!.digest })),
    );
    expect(digestOfBody((await cache.get(pathOf(small!.digest))).body)).toBe(small!.digest);
    expect(storage().calls('blobs.open')).toBe(3);
  });

  test.each([0, MiB])('failing after %i bytes were read, it is gone on from the upstream', async (after) => {
    const { cache, upstream, storage, image } = await startFlaky();
    const layer = image.layers[0]!;
    await cache.get(pathOf(layer.digest));
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(1);
    upstream.clear();
    let reads = 0;
    const { blobs } = storage();
    const open = blobs.open.bind(blobs);
    blobs.open = async (digest, options) => {
      const blob = await open(digest, options);
      if (blob?.kind !== 'file') return blob;
      return {
        ...blob,
        async read(into: Uint8Array, position: number) {
          if (position >= after) throw new Error(`a bad sector, met ${++reads} times`);
          return blob.read(into, position);
        },
      };
    };
    const got = await cache.get(pathOf(layer.digest));
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, layer.digest]);
    expect(upstream.count(gets)).toBe(1);
    expect(cache.seen('store-failed')).toMatchObject([{ operation: 'read', subject: layer.digest }]);
    const part = await cache.get(pathOf(layer.digest), { headers: { range: 'bytes=2000000-2000999' } });
    expect(part.status).toBe(206);
    expect(part.body).toHaveLength(1000);
    await expect.poll(() => cache.clock.advance(1_000).then(() => storage().openBlobs())).toBe(0);
    expect(reads).toBeGreaterThan(0);
  });

  test('at the only read of a short blob, it is asked for by nobody again and comes whole from the upstream', async () => {
    const { cache, upstream, storage, image } = await startFlaky();
    const short = image.layers[1]!;
    expect(short.size).toBeLessThanOrEqual(MiB);
    await cache.get(pathOf(short.digest));
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(1);
    upstream.clear();
    const before = storage().calls('blobs.read');
    storage().on('blobs.read', { fail: 'a bad sector' });
    const got = await cache.get(pathOf(short.digest));
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, short.digest]);
    expect([storage().calls('blobs.read') - before, upstream.count(gets)]).toEqual([1, 1]);
    expect(cache.seen('store-failed')).toMatchObject([{ operation: 'read', subject: short.digest }]);
    await expect.poll(() => cache.clock.advance(1_000).then(() => storage().openBlobs())).toBe(0);
  });

  test('with nothing left to serve, the upstream down too is a refusal, not a hang', async () => {
    const { cache, upstream, storage, image } = await startFlaky();
    const layer = image.layers[0]!;
    await cache.get(tagPath);
    await cache.get(pathOf(layer.digest));
    // Until then it could be had from its transfer.
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(1);
    await upstream.stop();
    storage().on('blobs.open', { hang: 'deaf' });
    storage().on('metadata.get', { hang: 'deaf' });
    // What the process holds is served.
    expect((await answered(cache, cache.get(tagPath))).status).toBe(200);
    expect((await answered(cache, cache.get(pathOf(layer.digest)))).status).toBe(502);
  });
});

describe('what is stored is what its digest says', () => {
  test('a blob that lost its end is fetched again', async () => {
    const { cache, upstream, image } = await startFlaky();
    const layer = image.layers[0]!;
    await cache.get(pathOf(layer.digest));
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(1);
    const file = join(cache.directory, 'blobs', layer.digest.replace(':', '/'));
    truncateSync(file, 2 * MiB);
    const all = await Promise.all(Array.from({ length: 5 }, () => cache.get(pathOf(layer.digest))));
    expect(all.map(({ body }) => digestOfBody(body))).toEqual(all.map(() => layer.digest));
    expect(upstream.count(gets)).toBe(2);
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(2);
    expect((await cache.get(pathOf(layer.digest))).headers['cache-status']).toBe('proxycache; hit');
    expect(upstream.count(gets)).toBe(2);
  });

  test('a blob that lost its end is not given to another repository', async () => {
    const { cache, upstream, image } = await startFlaky();
    const layer = image.layers[0]!;
    await cache.get(pathOf(layer.digest));
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(1);
    upstream.putBlob('other/app', upstream.blob('team/app', layer.digest)!);
    truncateSync(join(cache.directory, 'blobs', layer.digest.replace(':', '/')), 2 * MiB);
    const got = await cache.get(`/v2/up/other/app/blobs/${layer.digest}`);
    expect([got.failure, digestOfBody(got.body)]).toEqual([undefined, layer.digest]);
  });

  test('a blob whose size a repository tells wrong stays, and is served', async () => {
    const { cache, upstream, image } = await startFlaky();
    const layer = image.layers[0]!;
    await cache.get(pathOf(layer.digest));
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(1);
    upstream.serve(`/v2/liar/app/blobs/${layer.digest}`, () => ({
      status: 200,
      headers: { 'docker-content-digest': layer.digest, 'content-length': '5' },
      body: '',
    }));
    for (let i = 0; i < 2; i++) {
      const got = await cache.get(`/v2/up/liar/app/blobs/${layer.digest}`);
      expect([got.failure, digestOfBody(got.body)]).toEqual([undefined, layer.digest]);
    }
    expect(upstream.count({ method: 'GET', path: /liar/ })).toBe(0);
    expect((await cache.get(pathOf(layer.digest))).headers['cache-status']).toBe('proxycache; hit');
    expect(cache.seen('store-failed')).toEqual([]);
  });

  test('a manifest that was changed on the disk is fetched again', async () => {
    const { cache, upstream, image } = await startFlaky();
    await cache.get(tagPath);
    writeFileSync(join(cache.directory, 'blobs', image.root.digest.replace(':', '/')), '{"schemaVersion":2}');
    await cache.restart();
    upstream.clear();
    const byDigest = `/v2/up/team/app/manifests/${image.root.digest}`;
    expect(digestOfBody((await cache.get(byDigest)).body)).toBe(image.root.digest);
    expect(upstream.count({ method: 'GET', path: /\/manifests\// })).toBe(1);
    await cache.restart();
    await upstream.stop();
    expect(digestOfBody((await cache.get(byDigest)).body)).toBe(image.root.digest);
  });
});

describe('a spool that fails never costs a pull', () => {
  async function expectPassed(cache: CacheUnderTest, bytes: Buffer, digest: string, reason: string) {
    const got = await cache.get(pathOf(digest));
    expect([got.status, got.failure, got.body.equals(bytes)]).toEqual([200, undefined, true]);
    expect(got.headers['content-length']).toBe(String(bytes.byteLength));
    expect(got.headers['cache-status']).toBe('proxycache; fwd=miss; fwd-status=200');
    expect(cache.seen('passed-through').at(-1)).toMatchObject({ digest, reason });
    for (const [range, from, to] of [
      ['bytes=100-199', 100, 199],
      ['bytes=-100', bytes.byteLength - 100, bytes.byteLength - 1],
    ] as const) {
      const part = await cache.get(pathOf(digest), { headers: { range } });
      expect([part.status, part.failure, part.body.equals(bytes.subarray(from, to + 1))]).toEqual([
        206,
        undefined,
        true,
      ]);
    }
    const parts = await cache.get(pathOf(digest), { headers: { range: 'bytes=0-9,100-109' } });
    expect([parts.status, parts.failure]).toEqual([206, undefined]);
    const none = await cache.get(pathOf(digest), { headers: { range: `bytes=${bytes.byteLength}-` } });
    expect([none.status, none.headers['content-range']]).toEqual([416, `bytes */${bytes.byteLength}`]);
    const head = await cache.head(pathOf(digest));
    expect(head.headers['content-length']).toBe(String(bytes.byteLength));
  }

  const bytes = Buffer.from(seededBytes('passed', 3 * MiB));

  test('34: below minFree pulls pass through uncached, with an event', async () => {
    const { upstream, cache } = await startPair({ cache: { minFree: Number.MAX_SAFE_INTEGER } });
    const digest = upstream.putBlob('team/app', bytes);
    await expectPassed(cache, bytes, digest, 'min-free');
    expect(cache.seen('ingest-ended').every(({ outcome }) => outcome === 'failed')).toBe(true);
    upstream.clear();
    await cache.get(pathOf(digest));
    expect(upstream.count(gets)).toBe(1);
  });

  test('34: a wrong blob that passes through is never whole either', async () => {
    const { upstream, cache } = await startPair({ cache: { minFree: Number.MAX_SAFE_INTEGER } });
    for (const size of [1000, 3 * MiB]) {
      const digest = upstream.putBlob('team/app', seededBytes('wrong', size));
      upstream.on(gets, { corruptAt: size - 1 });
      const got = await cache.get(pathOf(digest));
      expect(got.status === 502 || got.failure !== undefined).toBe(true);
      expect(got.body.byteLength).toBeLessThan(size);
      upstream.heal();
      expect(digestOfBody((await cache.get(pathOf(digest))).body)).toBe(digest);
    }
  });

  test('where it cannot be written', async () => {
    const { upstream, cache } = await startPair();
    const digest = upstream.putBlob('team/app', bytes);
    const spool = join(cache.directory, 'spool');
    rmSync(spool, { recursive: true });
    writeFileSync(spool, 'in the way');
    await expectPassed(cache, bytes, digest, 'spool-failed');
    rmSync(spool);
    mkdirSync(spool);
    expect(digestOfBody((await cache.get(pathOf(digest))).body)).toBe(digest);
    await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('stored');
  });
});

test('no pull leaves a file open or in the spool', async () => {
  const { upstream, cache, image } = await startFlaky();
  const client = new AbortController();
  const leaving = image.blobs.map(({ digest }) => cache.get(pathOf(digest), { signal: client.signal }));
  client.abort();
  await Promise.allSettled(leaving);
  for (const { digest } of image.blobs) {
    await cache.get(pathOf(digest));
    await cache.get(pathOf(digest), { headers: { range: 'bytes=0-1,5-6' } });
    await cache.head(pathOf(digest));
  }
  const wrong = upstream.putBlob('team/app', seededBytes('wrong', 3 * MiB));
  upstream.on(gets, { corruptAt: 0 });
  await cache.get(pathOf(wrong));
  await expect.poll(() => cache.clock.advance(1_000).then(() => openFiles(cache.directory))).toEqual([]);
  const files = readdirSync(join(cache.directory, 'spool'), { recursive: true, withFileTypes: true });
  expect(files.filter((file) => file.isFile())).toEqual([]);
});

/** What a loss of power may leave of records: files without content. */
function cutRecords({ directory }: CacheUnderTest): void {
  const metadata = join(directory, 'metadata');
  const records = readdirSync(metadata, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(records.length).toBeGreaterThan(1);
  for (const { parentPath, name } of records) truncateSync(join(parentPath, name));
}

test('a record that a loss of power damaged is replaced by the next pull, and serves after a restart without upstream', async () => {
  const { upstream, cache } = await startFlaky();
  await cache.get(tagPath);
  await cache.restart();
  cutRecords(cache);
  expect((await cache.get(tagPath)).status).toBe(200);
  expect(cache.seen('store-failed')).toContainEqual(expect.objectContaining({ operation: 'metadata-get' }));
  await cache.restart();
  await upstream.stop();
  expect((await cache.get(tagPath)).status).toBe(200);
});

test('a tag record that a loss of power damaged was never written again where processes share a coordinator', async () => {
  const { upstream, cache } = await startPair({
    ...patient,
    freshFor: '1h',
    mount: { wrapStorage: (storage) => ({ ...storage, coordinator: localCoordinator() }) },
  });
  upstream.addImage('team/app', { tag: '1' });
  await cache.get(tagPath);
  await cache.restart();
  cutRecords(cache);
  expect((await cache.get(tagPath)).status).toBe(200);
  await cache.restart();
  await upstream.stop();
  expect((await cache.get(tagPath)).status).toBe(200);
  expect(cache.seen('store-failed').map(({ operation }) => operation)).not.toContain('metadata-set');
});

test('what was learnt while the records were away is there after a restart without upstream, also by digest', async () => {
  const { upstream, cache, storage, image } = await startFlaky();
  for (const operation of ['metadata.get', 'metadata.set'] as const) storage().on(operation, { fail: 'away' });
  expect((await cache.get(tagPath)).status).toBe(200);
  storage().heal();
  await cache.restart();
  await upstream.stop();
  for (const reference of ['1', image.root.digest]) {
    expect((await cache.get(`/v2/up/team/app/manifests/${reference}`)).status).toBe(200);
  }
});

test.each(['takes', 'refuses'])(
  'close() left a validation behind that wrote later to a store that %s it',
  async (how) => {
    const clock = manualClock();
    const storage = flakyStore(memoryStorage({ clock }));
    const { upstream, cache } = await startPair({
      ...patient,
      ...{ freshFor: '1m', staleWhileRevalidateFor: '1h' },
      // Nothing that close() waits for takes longer than some turns.
      cache: { storage, clock },
    });
    upstream.addImage('team/app', { tag: '1' });
    await cache.get(tagPath);
    await clock.advance(60_001);
    upstream.addImage('team/app', { tag: '1', seed: 'changed' });
    const held = gate();
    storage.on('blobs.put', { gate: held });
    expect((await cache.get(tagPath)).headers['cache-status']).toBe('proxycache; hit');
    await held.reached;
    const used = () => operations.map((operation) => storage.calls(operation));
    const closing = cache.cache.close().then(used);
    for (let turns = 0; turns < 10_000; turns++) await setImmediate();
    if (how === 'refuses') storage.on('metadata.set', { fail: 'away' });
    // The store is given up.
    await clock.advance(3_000);
    const usedAtClose = await closing;
    const told = cache.events.length;
    await clock.advance(120_000);
    for (let turns = 0; turns < 10_000; turns++) await setImmediate();
    expect(used()).toEqual(usedAtClose);
    expect(cache.events.slice(told)).toEqual([]);
  },
);
