import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { chunkGate, type FakeUpstream, seededBytes, sha256, startFakeCdn } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { digestOfBody, startPair } from './cache-under-test.ts';
import type { Got } from './request.ts';
import { stepClock } from './step-clock.ts';

const MiB = 1024 * 1024;
const blobs = { path: /\/blobs\// };
const gets = { method: 'GET', ...blobs };
const pathOf = (digest: string) => `/v2/up/team/app/blobs/${digest}`;

/** A blob at the upstream, and its path at the cache. */
function addBlob(upstream: FakeUpstream, size: number, seed = 'blob') {
  const bytes = Buffer.from(seededBytes(seed, size));
  const digest = upstream.putBlob('team/app', bytes);
  return { bytes, digest, path: pathOf(digest) };
}

const methods = (upstream: FakeUpstream) => upstream.requests.map(({ method }) => method);
const right = (got: Got, bytes: Uint8Array) => got.failure === undefined && got.body.equals(bytes);

describe('a blob', () => {
  test('15, 16, 17: is fetched once, verbatim, with the headers of what never changes', async () => {
    const { upstream, cache } = await startPair();
    const { bytes, digest, path } = addBlob(upstream, 2 * MiB);
    const cold = await cache.get(path);
    expect(right(cold, bytes)).toBe(true);
    expect(cold.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': String(bytes.byteLength),
      'docker-content-digest': digest,
      'docker-distribution-api-version': 'registry/2.0',
      etag: `"${digest}"`,
      'accept-ranges': 'bytes',
      'cache-control': 'private, max-age=31536000, immutable, no-transform',
      'x-content-type-options': 'nosniff',
      'cache-status': 'proxycache; fwd=miss; fwd-status=200; stored',
    });
    expect(cold.headers['age']).toBeUndefined();
    expect(upstream.requests).toHaveLength(1);
    expect(upstream.requests[0]?.headers['accept-encoding']).toBe('identity');

    await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored', bytes: bytes.byteLength }]);
    const warm = await cache.get(path);
    expect(right(warm, bytes)).toBe(true);
    expect(warm.headers['cache-status']).toBe('proxycache; hit');
    expect(upstream.requests).toHaveLength(1);
  });

  test.each([0, 1, MiB - 1, MiB, MiB + 1])('of %i bytes comes whole, cold and stored', async (size) => {
    const { upstream, cache } = await startPair();
    const { bytes, path } = addBlob(upstream, size);
    for (let i = 0; i < 2; i++) {
      const got = await cache.get(path);
      expect(right(got, bytes)).toBe(true);
      expect(got.headers['content-length']).toBe(String(size));
    }
    expect((await cache.head(path)).headers['content-length']).toBe(String(size));
  });

  test('of sha512 is verified by it', async () => {
    const { upstream, cache } = await startPair();
    const bytes = Buffer.from(seededBytes('sha512', 2 * MiB));
    const digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
    let body = Buffer.concat([bytes.subarray(1), Buffer.from('x')]);
    upstream.serve(`/v2/team/app/blobs/${digest}`, () => ({ status: 200, headers: {}, body }));
    expect((await cache.get(pathOf(digest))).failure).toBeDefined();
    body = bytes;
    expect(right(await cache.get(pathOf(digest)), bytes)).toBe(true);
    await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('stored');
    expect((await cache.get(pathOf(digest))).headers['cache-status']).toBe('proxycache; hit');
  });

  test('that the client has is 304', async () => {
    const { upstream, cache } = await startPair();
    const { digest, path } = addBlob(upstream, 1000);
    await cache.get(path);
    const got = await cache.get(path, { headers: { 'if-none-match': `"${digest}"` } });
    expect(got.status).toBe(304);
    expect(got.body).toHaveLength(0);
  });

  test('is served by redirects of the upstream', async () => {
    const cdn = await startFakeCdn();
    onTestFinished(() => cdn.stop());
    const { upstream, cache } = await startPair({ fake: { redirectBlobsTo: cdn } });
    const { bytes, digest, path } = addBlob(upstream, 2 * MiB);
    expect((await cache.head(path)).headers['content-length']).toBe(String(2 * MiB));
    const part = await cache.get(path, { headers: { range: 'bytes=10-19' } });
    expect(right(part, bytes.subarray(10, 20))).toBe(true);
    const got = await cache.get(path);
    expect(right(got, bytes)).toBe(true);
    expect(JSON.stringify(got.headers)).not.toContain('Signature');
    expect(JSON.stringify(cache.events)).not.toContain('Signature');
    await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('stored');
    await cdn.stop();
    expect(digestOfBody((await cache.get(path)).body)).toBe(digest);
  });

  test('is one upstream GET for all who ask at the same time', async () => {
    const { upstream, cache } = await startPair();
    const { bytes, path } = addBlob(upstream, 4 * MiB);
    const all = await Promise.all(Array.from({ length: 20 }, () => cache.get(path)));
    expect(all.every((got) => right(got, bytes))).toBe(true);
    expect(methods(upstream)).toEqual(['GET']);
    const hows = all.map(({ headers }) => headers['cache-status']);
    expect(hows.filter((how) => how === 'proxycache; fwd=miss; fwd-status=200; stored')).toHaveLength(1);
    expect(hows).toContain('proxycache; fwd=miss; fwd-status=200; stored; collapsed');
  });

  test('goes on coming in when its client has left', async () => {
    const { upstream, cache } = await startPair();
    const { bytes, path } = addBlob(upstream, 4 * MiB);
    const throttle = chunkGate(64 * 1024);
    upstream.on(gets, { throttle });
    const client = new AbortController();
    const leaving = cache.get(path, { signal: client.signal });
    throttle.allow(20);
    // What was sent may still be on its way; a transfer that brought nothing yet ends with its client.
    await expect.poll(() => spooledBytes(cache.directory)).toBe(20 * 64 * 1024);
    client.abort();
    await leaving.catch(() => undefined);
    throttle.open();
    await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored' }]);
    await upstream.stop();
    expect(right(await cache.get(path), bytes)).toBe(true);
  });
});

function spooledBytes(directory: string): number {
  const files = readdirSync(join(directory, 'spool'), { recursive: true, withFileTypes: true });
  return files
    .filter((file) => file.isFile())
    .reduce((bytes, { name, parentPath }) => bytes + statSync(join(parentPath, name)).size, 0);
}

describe('HEAD never moves a body', () => {
  test('cold: one upstream HEAD, and nothing is stored', async () => {
    const { upstream, cache } = await startPair();
    const { digest, path } = addBlob(upstream, 2 * MiB);
    const got = await cache.head(path);
    expect(got.status).toBe(200);
    expect(got.headers).toMatchObject({
      'content-length': String(2 * MiB),
      'docker-content-digest': digest,
      'content-type': 'application/octet-stream',
    });
    expect(methods(upstream)).toEqual(['HEAD']);
    // What it proved does not make the upstream's word unnecessary while the bytes are not here.
    await cache.head(path);
    expect(methods(upstream)).toEqual(['HEAD', 'HEAD']);
    expect(cache.seen('ingest-started')).toEqual([]);
  });

  test('stored: nobody is asked', async () => {
    const { upstream, cache } = await startPair();
    const { path } = addBlob(upstream, 1000);
    await cache.get(path);
    upstream.clear();
    expect((await cache.head(path)).headers['content-length']).toBe('1000');
    expect(upstream.requests).toEqual([]);
  });

  test('coming in: at most a HEAD', async () => {
    const { upstream, cache } = await startPair();
    const { bytes, path } = addBlob(upstream, 2 * MiB);
    const throttle = chunkGate(64 * 1024);
    upstream.on(gets, { throttle });
    const reading = cache.get(path);
    throttle.allow(1);
    await expect.poll(() => upstream.requests[0]?.sentBytes).toBeGreaterThan(0);
    expect((await cache.head(path)).headers['content-length']).toBe(String(2 * MiB));
    throttle.open();
    expect(right(await reading, bytes)).toBe(true);
    expect(upstream.count(gets)).toBe(1);
  });

  test('at an upstream without HEAD: a GET that is closed after its headers', async () => {
    const { upstream, cache } = await startPair({ fake: { personality: 'head-405' } });
    const { path } = addBlob(upstream, 8 * MiB);
    expect((await cache.head(path)).headers['content-length']).toBe(String(8 * MiB));
    expect(methods(upstream)).toEqual(['HEAD', 'GET']);
    await expect.poll(() => upstream.requests[1]?.aborted).toBe(true);
  });
});

describe('ranges', () => {
  const size = 3 * MiB;

  async function stored() {
    const pair = await startPair();
    const blob = addBlob(pair.upstream, size);
    await pair.cache.get(blob.path);
    await expect.poll(() => pair.cache.seen('ingest-ended')).toHaveLength(1);
    pair.upstream.clear();
    return { ...pair, ...blob };
  }

  test.each([
    ['bytes=0-0', 0, 0],
    ['bytes=5-1048581', 5, 1_048_581],
    [`bytes=${size - 1}-`, size - 1, size - 1],
    ['bytes=2000000-', 2_000_000, size - 1],
    ['bytes=-10', size - 10, size - 1],
    [`bytes=-${size + 1}`, 0, size - 1],
    [`bytes=10-${size + 10}`, 10, size - 1],
    ['bytes=10-19,15-30', 10, 30],
  ])('%s of a stored blob is 206, from the store alone', async (range, from, to) => {
    const { cache, upstream, bytes, path } = await stored();
    const got = await cache.get(path, { headers: { range } });
    expect(got.status).toBe(206);
    expect(right(got, bytes.subarray(from, to + 1))).toBe(true);
    expect(got.headers['content-range']).toBe(`bytes ${from}-${to}/${size}`);
    expect(got.headers['content-length']).toBe(String(to - from + 1));
    expect(got.headers['cache-status']).toBe('proxycache; hit');
    expect(upstream.requests).toEqual([]);
  });

  test.each([false, true])('several are one multipart/byteranges body (cold: %s)', async (cold) => {
    const { cache, upstream, bytes, path } = cold ? await startCold() : await stored();
    const got = await cache.get(path, { headers: { range: 'bytes=0-9,1000-1999,-5' } });
    expect(got.status).toBe(206);
    expect(got.failure).toBeUndefined();
    const boundary = /^multipart\/byteranges; boundary=(\S+)$/.exec(got.headers['content-type']!)![1];
    const parts = [
      [0, 9],
      [1000, 1999],
      [size - 5, size - 1],
    ].map(([from, to]) =>
      Buffer.concat([
        Buffer.from(`--${boundary}\r\nContent-Type: application/octet-stream\r\n`),
        Buffer.from(`Content-Range: bytes ${from}-${to}/${size}\r\n\r\n`),
        bytes.subarray(from!, to! + 1),
        Buffer.from('\r\n'),
      ]),
    );
    expect(got.body.equals(Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]))).toBe(true);
    expect(got.headers['content-length']).toBe(String(got.body.byteLength));
    // Several parts of what is not here come through a transfer of the whole.
    if (cold) expect(methods(upstream)).toEqual(['HEAD', 'GET']);
    if (cold) expect(upstream.requests[1]?.headers.range).toBeUndefined();
  });

  async function startCold(options: Parameters<typeof startPair>[0] = {}) {
    const pair = await startPair(options);
    return { ...pair, ...addBlob(pair.upstream, size) };
  }

  test.each([false, true])('none within the blob is 416 (cold: %s)', async (cold) => {
    const { cache, path } = cold ? await startCold() : await stored();
    const got = await cache.get(path, { headers: { range: `bytes=${size}-` } });
    expect(got.status).toBe(416);
    expect(got.headers['content-range']).toBe(`bytes */${size}`);
    expect(got.errorCode).toBe('RANGE_INVALID');
  });

  test('38: too many are 400', async () => {
    const { cache, path } = await stored();
    const range = `bytes=${Array.from({ length: 257 }, (_, i) => `${2 * i}-${2 * i}`).join(',')}`;
    expect((await cache.get(path, { headers: { range } })).status).toBe(400);
  });

  test('38: one after an If-Range that holds is 206, after another 200; a malformed one is 200', async () => {
    const { cache, path, digest, bytes } = await stored();
    const range = 'bytes=0-9';
    const holds = await cache.get(path, { headers: { range, 'if-range': `"${digest}"` } });
    expect(holds.status).toBe(206);
    for (const headers of [
      { range, 'if-range': '"another"' },
      { range, 'if-range': `W/"${digest}"` },
      { range, 'if-range': 'Thu, 01 Jan 2026 00:00:00 GMT' },
      { range: 'lines=1-2' },
    ]) {
      const whole = await cache.get(path, { headers });
      expect(whole.status).toBe(200);
      expect(right(whole, bytes)).toBe(true);
    }
  });

  describe('of a blob that is not here', () => {
    test('one is passed as the upstream sends it, said to be unverified, and never stored from', async () => {
      const { cache, upstream, bytes, path } = await startCold();
      const got = await cache.get(path, { headers: { range: 'bytes=100-199' } });
      expect(got.status).toBe(206);
      expect(right(got, bytes.subarray(100, 200))).toBe(true);
      expect(got.headers['content-range']).toBe(`bytes 100-199/${size}`);
      expect(got.headers['cache-status']).toBe('proxycache; fwd=partial; fwd-status=206; detail=unverified');
      expect(got.headers['cache-control']).toBe('no-store, no-transform');
      expect(upstream.requests.map(({ method, headers }) => [method, headers.range])).toEqual([
        ['HEAD', undefined],
        ['GET', 'bytes=100-199'],
      ]);
      expect(cache.seen('ingest-started')).toEqual([]);
      upstream.clear();
      expect(right(await cache.get(path), bytes)).toBe(true);
      expect(methods(upstream)).toEqual(['GET']);
    });

    test('one is cut out of the whole, where the upstream ignores Range', async () => {
      const { cache, upstream, bytes, path } = await startCold({ fake: { personality: 'no-ranges' } });
      const got = await cache.get(path, { headers: { range: 'bytes=70000-170000' } });
      expect(got.status).toBe(206);
      expect(right(got, bytes.subarray(70_000, 170_001))).toBe(true);
      await expect.poll(() => upstream.requests.at(-1)?.status).toBe(200);
      expect(cache.seen('ingest-started')).toEqual([]);
    });

    test.each(['bytes=2000000-', 'bytes=-1000'])('%s goes on to its end, so it brings the whole in', async (range) => {
      const { cache, upstream, bytes, path } = await startCold();
      const from = range === 'bytes=-1000' ? size - 1000 : 2_000_000;
      const got = await cache.get(path, { headers: { range } });
      expect(got.status).toBe(206);
      expect(right(got, bytes.subarray(from))).toBe(true);
      expect(got.headers['content-range']).toBe(`bytes ${from}-${size - 1}/${size}`);
      expect(got.headers['cache-status']).toContain('stored');
      await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored' }]);
      await upstream.stop();
      expect(right(await cache.get(path), bytes)).toBe(true);
    });

    test("with coldRange 'verify' one waits for the verified whole", async () => {
      const { cache, upstream, bytes, path } = await startCold({ coldRange: 'verify' });
      const throttle = chunkGate(MiB);
      upstream.on(gets, { throttle });
      let answered = false;
      const reading = cache.get(path, { headers: { range: 'bytes=0-9' } }).finally(() => {
        answered = true;
      });
      throttle.allow(2);
      await expect.poll(() => upstream.requests.at(-1)?.sentBytes).toBe(2 * MiB);
      await cache.clock.advance(10);
      expect(answered).toBe(false);
      throttle.open();
      const got = await reading;
      expect(got.status).toBe(206);
      expect(right(got, bytes.subarray(0, 10))).toBe(true);
      expect(got.headers['cache-status']).toBe('proxycache; fwd=miss; fwd-status=200; stored');
      upstream.on(gets, { corruptAt: 0 });
      const wrong = addBlob(upstream, size, 'wrong');
      const refused = await cache.get(wrong.path, { headers: { range: 'bytes=100-109' } });
      expect(refused.status).toBe(502);
    });

    test('one that has come already is served from what comes in; one beyond is passed', async () => {
      const { cache, upstream, bytes, path } = await startCold();
      const throttle = chunkGate(64 * 1024);
      upstream.on({ ...gets, times: 1 }, { throttle });
      const whole = cache.get(path);
      throttle.allow(16);
      await expect.poll(() => upstream.requests[0]?.sentBytes).toBe(MiB);
      const range = 'bytes=900000-999999';
      await expect
        .poll(async () => (await cache.get(path, { headers: { range } })).headers['cache-status'])
        .toBe('proxycache; fwd=miss; fwd-status=200; stored; collapsed');
      upstream.clear();
      const early = await cache.get(path, { headers: { range } });
      expect(right(early, bytes.subarray(900_000, 1_000_000))).toBe(true);
      expect(upstream.requests).toEqual([]);
      const beyond = await cache.get(path, { headers: { range: 'bytes=2000000-2000009' } });
      expect(right(beyond, bytes.subarray(2_000_000, 2_000_010))).toBe(true);
      expect(beyond.headers['cache-status']).toContain('detail=unverified');
      throttle.open();
      expect(right(await whole, bytes)).toBe(true);
    });
  });
});

describe('37: an upstream that gives no Content-Length', () => {
  test('has its sizes told by the manifest', async () => {
    const { upstream, cache } = await startPair({ fake: { personality: 'no-content-length' } });
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB] });
    await cache.get('/v2/up/team/app/manifests/1');
    const layer = image.layers[0]!;
    const got = await cache.get(pathOf(layer.digest));
    expect(got.headers['content-length']).toBe(String(3 * MiB));
    expect(digestOfBody(got.body)).toBe(layer.digest);
  });

  test('has them told by its own repository, whatever others say later', async () => {
    const { upstream, cache } = await startPair({ fake: { personality: 'no-content-length' } });
    const layer = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB] }).layers[0]!;
    const config = { ...layer, size: 4 * MiB };
    upstream.putManifest('other/app', { schemaVersion: 2, config, layers: [] }, { tags: ['1'] });
    for (const repository of ['team/app', 'other/app']) await cache.get(`/v2/up/${repository}/manifests/1`);
    const got = await cache.get(pathOf(layer.digest));
    expect(got.headers['content-length']).toBe(String(3 * MiB));
    expect(digestOfBody(got.body)).toBe(layer.digest);
  });

  test.each([1000, 3 * MiB])('and no manifest is answered chunked, or once all is here (%i bytes)', async (size) => {
    const { upstream, cache } = await startPair({ fake: { personality: 'no-content-length' } });
    const { bytes, path } = addBlob(upstream, size);
    const got = await cache.get(path);
    expect(right(got, bytes)).toBe(true);
    expect(got.headers['content-length']).toBe(size === 1000 ? '1000' : undefined);
    await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored' }]);
    expect((await cache.get(path)).headers['content-length']).toBe(String(size));
  });

  test('does not make a range a silent 200', async () => {
    const { upstream, cache } = await startPair({ fake: { personality: 'no-content-length' } });
    const { bytes, path } = addBlob(upstream, 3 * MiB);
    const got = await cache.get(path, { headers: { range: 'bytes=100-199' } });
    expect(got.status).toBe(206);
    expect(right(got, bytes.subarray(100, 200))).toBe(true);
    expect(got.headers['content-range']).toBe(`bytes 100-199/${3 * MiB}`);
  });

  test('is pulled from, although a manifest tells a wrong size', async () => {
    const { upstream, cache } = await startPair({ fake: { personality: 'no-content-length' } });
    const { bytes, digest, path } = addBlob(upstream, 3 * MiB);
    for (const size of [1, 3 * MiB - 1, 4 * MiB]) {
      const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size };
      upstream.putManifest('other/app', { schemaVersion: 2, config, layers: [] }, { tags: [`${size}`] });
      await cache.get(`/v2/up/other/app/manifests/${size}`);
      await cache.get(path);
    }
    await expect.poll(async () => right(await cache.get(path), bytes)).toBe(true);
  });
});

test('37: a foreign layer is 404, unless the upstream serves it', async () => {
  const { upstream, cache } = await startPair();
  const bytes = Buffer.from(seededBytes('foreign', 1000));
  const layer = {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    digest: sha256(bytes),
    size: 1000,
    urls: ['https://elsewhere.invalid/layer'],
  };
  const image = upstream.addImage('team/app');
  upstream.putManifest('team/app', { schemaVersion: 2, config: image.config, layers: [layer] }, { tags: ['1'] });
  await cache.get('/v2/up/team/app/manifests/1');
  const got = await cache.get(pathOf(layer.digest));
  expect(got.status).toBe(404);
  expect(got.errorCode).toBe('BLOB_UNKNOWN');
  upstream.putBlob('team/app', bytes);
  expect(right(await cache.get(pathOf(layer.digest)), bytes)).toBe(true);
});

describe('what the upstream says', () => {
  test.each([
    [{ status: 404 }, 404, 'BLOB_UNKNOWN'],
    [{ status: 403 }, 403, 'DENIED'],
    [{ status: 451, body: '{"errors":[{"code":"DENIED","message":"x"}]}' }, 403, 'DENIED'],
    [{ status: 500 }, 503, 'UNAVAILABLE'],
    [{ status: 429, headers: { 'retry-after': '7' } }, 429, 'TOOMANYREQUESTS'],
    [{ status: 404, body: '<html>', headers: { 'content-type': 'text/html' } }, 502, 'UNAVAILABLE'],
    [{ status: 200, body: '<html>', headers: { 'content-type': 'text/html' } }, 502, 'UNAVAILABLE'],
    [{ drop: 'rst' as const }, 502, 'UNAVAILABLE'],
  ])('of a blob that is not here (%j) is told as %i', async (fault, status, code) => {
    // Of one that is known to be down, a blob would wait for its return.
    const { upstream, cache } = await startPair({ breaker: { failures: 100 } });
    const { path } = addBlob(upstream, 2 * MiB);
    upstream.on(blobs, fault);
    for (const got of [await cache.get(path), await cache.get(path, { headers: { range: 'bytes=0-9' } })]) {
      expect([got.status, got.errorCode]).toEqual([status, code]);
    }
    expect((await cache.head(path)).status).toBe(status);
  });

  test('is awaited for so long, and no longer', async () => {
    const { upstream, cache } = await startPair({ blobWithin: '20s' });
    const { path } = addBlob(upstream, 1000);
    upstream.on(blobs, { hang: true });
    const waiting = cache.get(path);
    await expect.poll(() => upstream.count(gets)).toBe(1);
    await cache.clock.advance(20_000);
    expect((await waiting).status).toBe(504);
  });

  test.each([
    [{ cutAfter: 0, how: 'fin' }, [502, 504], 5_000],
    [{ stallAfter: 0 }, [504], 20_000],
  ] as const)(
    'before the first byte is told by a status, within `blobWithin` (%j)',
    async (fault, statuses, longest) => {
      const { upstream, cache } = await startPair({
        timeouts: { connect: '1d', headers: '1d', idle: '20s' },
        // It would say for how long to leave the upstream alone: as long as a store is waited for.
        breaker: { failures: 1_000 },
      });
      const { path } = addBlob(upstream, 8 * MiB);
      upstream.on(gets, fault);
      const began = cache.clock.now();
      const got = await stepClock(cache.clock, cache.get(path), (ms) => ms <= longest);
      expect(statuses).toContain(got.status);
      expect(cache.clock.now() - began).toBeGreaterThan(50_000);
      expect(cache.clock.now() - began).toBeLessThan(70_000);
      expect(upstream.count(gets)).toBeGreaterThan(1);
    },
  );
});
