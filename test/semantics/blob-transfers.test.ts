import { type BlobStore, memoryStorage } from '@proxycache/core';
import { chunkGate, gate, seededBytes, sha256 } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { slowClient } from '../faults/slow-client.ts';
import { startCache, startPair, startUpstream } from './cache-under-test.ts';

const bytes = seededBytes('blob', 3_000_000);

describe('18: where there is no room to keep a blob', () => {
  const noRoom = { cache: { minFree: Number.MAX_SAFE_INTEGER } };

  it.each([
    ['pass', 'bytes=0-'],
    ['pass', 'bytes=-100'],
    ['pass', 'bytes=0-9,-100'],
    ['verify', 'bytes=0-'],
    ['verify', 'bytes=5-9'],
    ['verify', 'bytes=5-1999999'],
  ] as const)('parts of a wrong one never look complete (%s, %s)', async (coldRange, range) => {
    const { upstream, cache } = await startPair({ ...noRoom, coldRange });
    const digest = upstream.putBlob('team/app', bytes);
    const heal = upstream.on({ method: 'GET', path: /\/blobs\// }, { corruptAt: bytes.byteLength - 10 });
    const wrong = await cache.get(`/v2/up/team/app/blobs/${digest}`, { headers: { range } });
    // What is small is found wrong before the status; the rest breaks off.
    if (wrong.status === 206) expect(wrong.failure).toBeDefined();
    else expect(wrong.status).toBe(502);
    heal();
    const right = await cache.get(`/v2/up/team/app/blobs/${digest}`, { headers: { range } });
    expect(right.status).toBe(206);
    expect(cache.seen('ingest-ended').some(({ outcome }) => outcome === 'stored')).toBe(false);
  });

  it('parts are cut out of the whole', async () => {
    const { upstream, cache } = await startPair({ ...noRoom, coldRange: 'verify' });
    const digest = upstream.putBlob('team/app', bytes);
    const path = `/v2/up/team/app/blobs/${digest}`;
    for (const [range, from, to] of [
      ['bytes=1000-', 1000, 2_999_999],
      ['bytes=70000-2999998', 70_000, 2_999_998],
      ['bytes=0-0', 0, 0],
    ] as const) {
      const { status, body, headers } = await cache.get(path, { headers: { range } });
      expect(status).toBe(206);
      expect(headers['content-range']).toBe(`bytes ${from}-${to}/3000000`);
      expect(Buffer.compare(body, bytes.subarray(from, to + 1))).toBe(0);
    }
    const several = await cache.get(path, { headers: { range: 'bytes=10-19,100000-100009,-10' } });
    expect(several.status).toBe(206);
    for (const [from, to] of [
      [10, 20],
      [100_000, 100_010],
      [2_999_990, 3_000_000],
    ]) {
      expect(several.body.includes(Buffer.from(bytes.subarray(from, to)))).toBe(true);
    }
  });

  it('clients that do not read keep no manifest and no proof away', async () => {
    const { upstream, cache } = await startPair({ ...noRoom, limits: { maxConnections: 2, queueFor: '1s' } });
    const large = seededBytes('large', 32 * 1024 * 1024);
    const path = `/v2/up/team/app/blobs/${upstream.putBlob('team/app', large)}`;
    const image = upstream.addImage('team/app', { tag: '1' });
    const slow = await slowClient(`${cache.url}${path}`);
    const other = slowClient(`${cache.url}${path}`);
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    expect((await cache.head(`/v2/up/team/app/blobs/${image.config.digest}`)).status).toBe(200);
    expect((await slow.rest()).equals(large)).toBe(true);
    expect((await (await other).rest()).equals(large)).toBe(true);
  });

  it.each([
    ['descending parts are the whole, as if no part was asked for', 'pass', '-10,2000000-2000009,10-19', 200],
    ['descending parts are the whole, also where all is verified', 'verify', '2000000-2000009,10-19', 200],
    ['ascending parts to the end are parts', 'pass', '10-19,2000000-2000009,-10', 206],
    ['ascending parts before the end are parts', 'pass', '10-19,20-29,1500000-1500009,2000000-2000009', 206],
  ] as const)('%s (%s), and one request has one download', async (_what, coldRange, ranges, expected) => {
    const { upstream, cache } = await startPair({ ...noRoom, coldRange });
    const digest = upstream.putBlob('team/app', bytes);
    const range = `bytes=${ranges}`;
    const { status, body } = await cache.get(`/v2/up/team/app/blobs/${digest}`, { headers: { range } });
    expect(status).toBe(expected);
    if (status === 200) expect(Buffer.compare(body, bytes)).toBe(0);
    else expect(body.includes(Buffer.from(bytes.subarray(2_000_000, 2_000_010)))).toBe(true);
    expect(upstream.count({ method: 'GET', path: /\/blobs\// })).toBe(1);
  });
});

describe('a manifest that tells a wrong size of a blob', () => {
  it('does not keep the blob from being cached at another upstream', async () => {
    const [honest, other] = [await startUpstream(), await startUpstream()];
    const digest = honest.putBlob('a', bytes);
    const config = other.putBlob('e', '{}');
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const layers = [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 2 ** 52 }];
    const manifest = {
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: 2 },
      layers,
    };
    other.putManifest('e', manifest, { tags: ['t'] });
    const cache = await startCache({
      upstreams: [
        { key: 'honest', url: honest.url },
        { key: 'other', url: other.url },
      ],
    });
    expect((await cache.get('/v2/other/e/manifests/t')).status).toBe(200);
    const { status, body } = await cache.get(`/v2/honest/a/blobs/${digest}`);
    expect({ status, digest: sha256(body) }).toEqual({ status: 200, digest });
    await expect.poll(() => cache.seen('ingest-ended').map(({ outcome }) => outcome)).toEqual(['stored']);
    expect(cache.seen('passed-through')).toEqual([]);
  });
});

it('a blob that came in while the store was slow to miss it is not fetched again', async () => {
  const upstream = await startUpstream();
  const digest = upstream.putBlob('team/app', bytes);
  const storage = memoryStorage();
  const slow = gate();
  let asked = 0;
  const open: BlobStore['open'] = async (...given) => {
    const isFirst = ++asked === 1;
    const blob = await storage.blobs.open(...given);
    if (isFirst) await slow.pass();
    return blob;
  };
  const cache = await startCache({
    storage: { ...storage, blobs: { ...storage.blobs, open } },
    upstreams: [{ key: 'up', url: upstream.url }],
  });
  const path = `/v2/up/team/app/blobs/${digest}`;
  const late = cache.get(path);
  await slow.reached;
  expect((await cache.get(path)).status).toBe(200);
  await expect.poll(() => cache.seen('ingest-ended').map(({ outcome }) => outcome)).toEqual(['stored']);
  slow.open();
  const { status, body } = await late;
  expect({ status, digest: sha256(body) }).toEqual({ status: 200, digest });
  expect(upstream.count({ method: 'GET', path: /\/blobs\// })).toBe(1);
});

describe('32: a blob that waited for a connection', () => {
  it('for longer than blobWithin has all its time then, and what fails is asked again', async () => {
    const limits = { maxConnections: 1, queueFor: '5m' } as const;
    const { upstream, cache } = await startPair({ limits, retry: { attempts: 3 }, timeouts: { idle: '10m' } });
    const [first, second] = ['first', 'second'].map((seed) => upstream.putBlob('team/app', seededBytes(seed, 100_000)));
    const chunks = chunkGate(50_000);
    upstream.on({ path: new RegExp(first ?? '') }, { throttle: chunks });
    upstream.on({ path: new RegExp(second ?? ''), times: 1 }, { status: 503 });
    const running = cache.get(`/v2/up/team/app/blobs/${first}`);
    await expect.poll(() => upstream.requests.length).toBe(1);
    chunks.allow();
    const waiting = cache.get(`/v2/up/team/app/blobs/${second}`);
    await expect.poll(() => cache.seen('ingest-started')).toHaveLength(2);
    await cache.clock.advance(120_000);
    chunks.open();
    expect((await running).status).toBe(200);
    await expect.poll(() => upstream.requests.length).toBe(2);
    await expect
      .poll(async () => {
        await cache.clock.advance(100);
        return upstream.requests.length;
      })
      .toBe(3);
    const got = await waiting;
    expect([got.status, got.body.byteLength]).toEqual([200, 100_000]);
  });
});

describe('32: a part that waited for others to pass', () => {
  // Less than what is waited for a passage.
  const blobWithin = '1500ms';
  const part = { headers: { range: 'bytes=0-99' } };

  /** One part passes, as many as may, and another one waits for it. */
  async function startWaiting() {
    const limits = { maxConnections: 4 };
    const { upstream, cache } = await startPair({ blobWithin, limits, timeouts: { idle: '10m' } });
    const [first, second] = ['first', 'second'].map((seed) => upstream.putBlob('team/app', seededBytes(seed, 100_000)));
    const [chunks, held] = [chunkGate(10_000), gate()];
    upstream.on({ method: 'GET', path: new RegExp(first ?? '') }, { throttle: chunks });
    upstream.on({ method: 'GET', path: new RegExp(second ?? '') }, { gate: held });
    const passing = cache.get(`/v2/up/team/app/blobs/${first}`, { headers: { range: 'bytes=0-89999' } });
    chunks.allow();
    await expect.poll(() => upstream.count({ method: 'GET' })).toBe(1);
    const waiting = cache.get(`/v2/up/team/app/blobs/${second}`, part);
    await expect.poll(() => cache.clock.nextDelay()).toBe(2_000);
    return { cache, passing, waiting, chunks, held };
  }

  it('in vain has all of blobWithin for a transfer', async () => {
    const { cache, passing, waiting, chunks, held } = await startWaiting();
    await cache.clock.advance(2_000);
    await held.reached;
    await cache.clock.advance(1_400);
    held.open();
    const { status, body } = await waiting;
    expect([status, body.byteLength]).toEqual([206, 100]);
    expect(cache.seen('ingest-started')).toHaveLength(1);
    chunks.open();
    expect((await passing).body.byteLength).toBe(90_000);
  });

  it('and then passed has all of blobWithin, too', async () => {
    const { cache, passing, waiting, chunks, held } = await startWaiting();
    await cache.clock.advance(1_000);
    chunks.open();
    expect((await passing).body.byteLength).toBe(90_000);
    await held.reached;
    await cache.clock.advance(1_400);
    held.open();
    const { status, body } = await waiting;
    expect([status, body.byteLength]).toEqual([206, 100]);
    expect(cache.seen('ingest-started')).toEqual([]);
  });
});
