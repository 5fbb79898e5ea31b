import { memoryStorage, type Storage } from '@proxycache/core';
import { type FlakyStorage, flakyStore, seededBytes } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { digestOfBody, startCache, startUpstream } from '../semantics/cache-under-test.ts';

// What random runs have found, made small.

const KiB = 1024;

/** A blob in the store, whose disk is full now and whose reads fail after the first `good` of them. */
async function unreadableOnAFullDisk(good: number) {
  const upstream = await startUpstream();
  const bytes = Buffer.from(seededBytes('unreadable', 1024 * KiB + 1));
  const digest = upstream.putBlob('team/app', bytes);
  let storage: FlakyStorage | undefined;
  const cache = await startCache(
    { upstreams: [{ key: 'up', url: upstream.url }], minFree: 0 },
    {
      wrapStorage(given) {
        storage = flakyStore(given);
        const { blobs } = storage;
        return {
          ...storage,
          blobs: {
            ...blobs,
            async open(...asked) {
              const blob = await blobs.open(...asked);
              if (blob?.kind !== 'file') return blob;
              let reads = 0;
              return {
                ...blob,
                async read(into, position) {
                  if (failing && reads++ >= good) throw new Error('bad sector');
                  return await blob.read(into, position);
                },
              };
            },
          },
        };
      },
    },
  );
  let failing = false;
  const path = `/v2/up/team/app/blobs/${digest}`;
  await cache.get(path);
  await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('stored');
  await cache.restart({ minFree: Number.MAX_SAFE_INTEGER });
  failing = true;
  return { cache, path, bytes, digest };
}

test.each([0, 1, 2])(
  'a stored blob that cannot be read after %i reads is gone on with at the right byte, with a full disk too',
  async (good) => {
    const { cache, path, digest } = await unreadableOnAFullDisk(good);
    const got = await cache.get(path);
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
  },
);

test.each([
  [0, 64 * KiB],
  [128 * KiB, 64 * KiB],
  [300 * KiB + 7, 500 * KiB],
  [1024 * KiB, 1],
])('so is a part of it, from %i on, %i bytes long', async (from, length) => {
  const { cache, path, bytes } = await unreadableOnAFullDisk(0);
  const got = await cache.get(path, { headers: { range: `bytes=${from}-${from + length - 1}` } });
  expect([got.status, got.failure, got.body.byteLength]).toEqual([206, undefined, length]);
  expect(got.body.equals(bytes.subarray(from, from + length))).toBe(true);
});

test.each([{}, { range: 'bytes=5-9' }, { range: 'bytes=5-' }, { range: 'bytes=0-3,-4' }])(
  'a small blob that comes wrong once is right for the client with a full disk, too: %j',
  async (headers) => {
    const upstream = await startUpstream();
    const bytes = Buffer.from(seededBytes('wrong once', 40 * KiB));
    const digest = upstream.putBlob('team/app', bytes);
    const cache = await startCache({
      upstreams: [{ key: 'up', url: upstream.url, coldRange: 'verify' }],
      minFree: Number.MAX_SAFE_INTEGER,
    });
    const path = `/v2/up/team/app/blobs/${digest}`;
    const right = await cache.get(path, { headers });
    upstream.script({ method: 'GET', digest }, [{ corruptAt: 6 }]);
    const got = await cache.get(path, { headers });
    expect([got.status, got.failure]).toEqual([right.status, undefined]);
    expect(got.body.equals(right.body)).toBe(true);
    expect(right.status === 200 ? right.body.equals(bytes) : right.status).toBe(right.status === 200 ? true : 206);
  },
);

test.each([
  [
    'bytes=13-16,4-10',
    [
      [13, 16],
      [4, 10],
    ],
  ],
  [
    'bytes=-5,0-3,8-9',
    [
      [12, 16],
      [0, 3],
      [8, 9],
    ],
  ],
] as const)('parts of a small blob, in any order, are no whole 200 with a full disk: %s', async (range, spans) => {
  for (const coldRange of ['pass', 'verify'] as const) {
    const upstream = await startUpstream();
    const bytes = Buffer.from(seededBytes('seventeen', 17));
    const digest = upstream.putBlob('team/app', bytes);
    const cache = await startCache({
      upstreams: [{ key: 'up', url: upstream.url, coldRange }],
      minFree: Number.MAX_SAFE_INTEGER,
    });
    upstream.script({ method: 'GET', digest }, [{ corruptAt: 6 }]);
    const got = await cache.get(`/v2/up/team/app/blobs/${digest}`, { headers: { range } });
    expect([got.status, got.failure]).toEqual([206, undefined]);
    const parts = got.body
      .toString('latin1')
      .split(/content-range: bytes /i)
      .slice(1);
    expect(parts.map((part) => part.slice(0, part.indexOf('\r\n--')))).toEqual(
      spans.map(([from, to]) => `${from}-${to}/17\r\n\r\n${bytes.subarray(from, to + 1).toString('latin1')}`),
    );
    // The wrong one, and the right one for all parts together.
    expect(upstream.count({ method: 'GET', path: /\/blobs\// })).toBe(2);
  }
});

test.each([
  ['is down', 'read', { status: 500 }, 503],
  ['is down', 'open', { status: 500 }, 503],
  ['sends other bytes', 'read', { corruptAt: 0 }, 502],
  ['has lost it', 'read', { status: 404 }, 404],
] as const)(
  'what a store of its own fails to give, and an upstream that %s, is no defect of the cache (%s)',
  async (_what, operation, fault, status) => {
    const upstream = await startUpstream();
    const digest = upstream.putBlob('team/app', seededBytes('unreadable', 5_000));
    const storage = flakyStore(memoryStorage());
    const upstreams = [{ key: 'up', url: upstream.url, breaker: { failures: 1000 } }];
    // Memory would give it.
    const cache = await startCache({ upstreams, storage, memory: { blobs: 0 } });
    const path = `/v2/up/team/app/blobs/${digest}`;
    await cache.get(path);
    await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('stored');
    for (const headers of [{}, { range: 'bytes=5-9' }, { range: 'bytes=5-9,20-' }]) {
      storage.on(`blobs.${operation}`, { fail: 'bad sector' });
      upstream.on({ method: 'GET', path: /\/blobs\// }, fault);
      const got = await cache.get(path, { headers });
      expect([got.status, got.failure]).toEqual([status, undefined]);
      expect(got.headers['retry-after'] !== undefined).toBe(status === 503);
      expect(cache.seen('request').at(-1)).toMatchObject({ status, error: expect.not.stringMatching('internal') });
      expect(cache.seen('store-failed').at(-1)?.error).toMatch('bad sector');
      storage.heal();
      upstream.heal();
      expect(digestOfBody((await cache.get(path)).body)).toBe(digest);
      // From then on the store is asked for it again.
      await cache.clock.advance(1_000);
    }
  },
);

test('a stored blob that cannot be read now is there afterwards, though the one in its place could not be stored', async () => {
  const upstream = await startUpstream();
  const digest = upstream.putBlob('team/app', seededBytes('unreadable', 5_000));
  let storage: FlakyStorage | undefined;
  const wrapStorage = (given: Storage) => {
    storage = flakyStore(given);
    return storage;
  };
  const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url }] }, { wrapStorage });
  const path = `/v2/up/team/app/blobs/${digest}`;
  await cache.get(path);
  await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('stored');
  for (const operation of ['blobs.read', 'blobs.adopt'] as const) storage?.on(operation, { fail: 'bad sector' });
  expect(digestOfBody((await cache.get(path)).body)).toBe(digest);
  await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('queued');
  storage?.heal();
  await cache.restart();
  await upstream.stop();
  const got = await cache.get(path);
  expect([got.headers['cache-status'], digestOfBody(got.body)]).toEqual(['proxycache; hit', digest]);
});
