import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Fault, type Personality, seededBytes, startFakeCdn } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { digestOfBody, startPair } from '../semantics/cache-under-test.ts';
import { patient } from '../semantics/patient.ts';
import { pace } from './paced-upstream.ts';

const MiB = 1024 * 1024;
const size = 32 * MiB;
const bytes = Buffer.from(seededBytes('segments', size));
const gets = { method: 'GET', path: /\/blobs\// };
/** What one connection takes for it. */
const alone = (size / (64 * 1024)) * 10;
/** A third is for three connections; to find out takes some, and pieces are gathered by the machine's clock, which is slower. */
const soon = 0.6;

type PairOptions = Parameters<typeof startPair>[0];

async function start(options: PairOptions = {}) {
  const pair = await startPair({ ...patient, segments: { connections: 4, minSize: MiB }, ...options });
  const digest = pair.upstream.putBlob('team/app', bytes);
  return { ...pair, digest, path: `/v2/up/team/app/blobs/${digest}` };
}

type Started = Awaited<ReturnType<typeof start>>;

const ranges = ({ upstream }: Started) =>
  upstream.requests.filter(({ path }) => path.includes('/blobs/')).map(({ headers }) => headers.range);

async function expectStored({ cache, upstream, path, digest }: Started): Promise<void> {
  const ends = () => cache.seen('ingest-ended').filter((ended) => ended.digest === digest);
  await expect.poll(() => ends().at(-1)?.outcome).toBe('stored');
  const spool = readdirSync(join(cache.directory, 'spool'), { recursive: true, withFileTypes: true });
  expect(spool.filter((entry) => entry.isFile())).toEqual([]);
  await upstream.stop();
  const again = await cache.get(path);
  expect([again.status, again.failure, again.body.equals(bytes)]).toEqual([200, undefined, true]);
}

/** Pulls it at a pace; how long that took. */
async function pull(started: Started, how: Omit<Parameters<typeof pace>[0], 'host' | 'cache'> = {}): Promise<number> {
  const { upstream: host, cache, path, digest } = started;
  const pulled = cache.get(path);
  const ms = await pace({ host, cache, ...how }).until(pulled);
  const got = await pulled;
  expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
  return ms;
}

const most = ({ cache }: Started) => Math.max(0, ...cache.seen('segments-changed').map(({ segments }) => segments));

describe('a large blob of an upstream that gives each connection only so much', () => {
  test('is brought by several, at once', async () => {
    const started = await start();
    const ms = await pull(started);
    expect(ms).toBeLessThan(alone * soon);
    expect(ms).toBeGreaterThan(alone / 5);
    expect(most(started)).toBe(3);
    const [first, second] = ranges(started);
    expect([first, second]).toEqual([undefined, expect.stringMatching(new RegExp(`^bytes=\\d+-${size - 1}$`))]);
    const conditions = started.upstream.requests.slice(1).map(({ headers }) => headers['if-match']);
    expect(new Set(conditions)).toEqual(new Set([`"${started.digest}"`]));
    expect(started.upstream.sentBytes(gets)).toBeLessThanOrEqual(1.05 * size);
    expect(started.cache.seen('segments-changed').every(({ error }) => error === undefined)).toBe(true);
    await expectStored(started);
  });

  test.each([
    ['where nothing is said of segments', { segments: false }],
    ['where it is smaller than `minSize`', { segments: { minSize: size + 1 } }],
    ['where blobs have too few connections', { limits: { maxConnections: 4 }, segments: { minSize: MiB } }],
    ['where the upstream says no length', { fake: { personality: 'no-content-length' } }],
  ] as [string, PairOptions][])('is brought by one %s', async (_, options) => {
    const started = await start(options);
    expect(await pull(started)).toBeGreaterThanOrEqual(alone);
    expect(ranges(started)).toEqual([undefined]);
    await expectStored(started);
  });

  test('comes by a signed URL of its own for each part', async () => {
    const cdn = await startFakeCdn();
    onTestFinished(() => cdn.stop());
    const started = await start({ fake: { redirectBlobsTo: cdn } });
    const { cache, path, digest } = started;
    const pulled = cache.get(path);
    const ms = await pace({ host: cdn, cache }).until(pulled);
    expect(ms).toBeLessThan(alone * soon);
    expect(ms).toBeGreaterThan(alone / 5);
    expect(digestOfBody((await pulled).body)).toBe(digest);
    expect(cdn.requests.length).toBe(started.upstream.count(gets));
    expect(new Set(cdn.requests.map(({ status }) => status))).toEqual(new Set([200, 206]));
    expect(cdn.sentBytes()).toBeLessThanOrEqual(1.05 * size);
    await expectStored(started);
  });

  test('goes on when its client leaves', async () => {
    const started = await start();
    const { upstream: host, cache, path } = started;
    const left = new AbortController();
    const pulled = cache.get(path, { signal: left.signal });
    const paced = pace({ host, cache });
    await paced.untilTrue(() => most(started) > 0);
    left.abort();
    expect((await pulled).failure).toBeDefined();
    await paced.untilTrue(() => cache.seen('ingest-ended').length > 0);
    expect(host.sentBytes(gets)).toBeLessThanOrEqual(1.05 * size);
    await expectStored(started);
  });

  test('ends when the cache is closed, with all its connections', async () => {
    const started = await start();
    const { upstream: host, cache, path } = started;
    const pulled = cache.get(path);
    const paced = pace({ host, cache });
    await paced.untilTrue(() => most(started) === 3);
    await paced.until(cache.cache.close({ graceMs: 0 }));
    expect((await pulled).failure).toBeDefined();
    expect(cache.seen('ingest-ended').at(-1)).toMatchObject({ outcome: 'failed' });
    await expect.poll(() => host.underWay()).toBe(0);
    expect(cache.clock.pending()).toBe(0);
  });

  test('is never why another request has no connection', async () => {
    const started = await start({ limits: { maxConnections: 11 }, segments: { connections: 8, minSize: MiB } });
    const { upstream: host, cache, path } = started;
    const others = Array.from({ length: 7 }, (_, index) => host.putBlob('team/app', `other ${index}`));
    const image = host.addImage('team/app', { tag: '1' });
    const pulled = cache.get(path);
    const paced = pace({ host, cache });
    // Blobs may use eight connections, and segments four of them.
    await paced.untilTrue(() => most(started) === 3);
    const answers = Promise.all([
      ...others.map((digest) => cache.get(`/v2/up/team/app/blobs/${digest}`)),
      cache.get('/v2/up/team/app/manifests/1'),
    ]);
    await paced.until(answers);
    expect((await answers).map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect((await answers).at(-1)?.headers['docker-content-digest']).toBe(image.root.digest);
    await expect.poll(() => cache.seen('ingest-ended').length).toBe(7);
    await paced.until(pulled);
    expect((await pulled).body.equals(bytes)).toBe(true);
    await expectStored(started);
  });
});

test('a link that is full gets one connection more, once, which is let go', async () => {
  const started = await start();
  await pull(started, { total: 1 });
  expect(most(started)).toBe(1);
  expect(started.upstream.sentBytes(gets)).toBeLessThanOrEqual(1.05 * size);
  await expectStored(started);
});

describe('a part that is not what was asked for ends the asking, and costs the pull nothing:', () => {
  const ofPart = (alter: Personality['alter']): Personality => ({
    alter: (answer, request) => (request.headers.range ? alter!(answer, request) : answer),
  });
  const withHeaders = (headers: Record<string, string>) =>
    ofPart((answer) => ({ ...answer, headers: { ...answer.headers, ...headers } }));

  test.each<[string, PairOptions]>([
    ['the whole', { fake: { personality: 'no-ranges' } }],
    ['another validator', { fake: { personality: withHeaders({ etag: '"other"' }) } }],
    [
      'another total',
      {
        fake: {
          personality: ofPart((answer) => {
            const range = answer.headers['content-range']!.replace(/\d+$/, String(size + 1));
            return { ...answer, headers: { ...answer.headers, 'content-range': range } };
          }),
        },
      },
    ],
    ['another part', { fake: { personality: withHeaders({ 'content-range': `bytes 0-9/${size}` }) } }],
  ])('%s', async (_, options) => {
    const started = await start(options);
    await pull(started);
    expect(ranges(started)).toHaveLength(2);
    expect(started.upstream.sentBytes(gets)).toBeLessThanOrEqual(1.05 * size);
    expect(started.cache.seen('segments-changed')).toEqual([
      expect.objectContaining({ segments: 0, error: expect.any(String) }),
    ]);
    await expectStored(started);
  });

  test.each<[string, Fault]>([
    ['416', { status: 416, headers: { 'content-range': `bytes */${size}` } }],
    ['404', { status: 404 }],
    ['403', { status: 403 }],
    ['429', { status: 429, headers: { 'retry-after': '86400' } }],
  ])('%s', async (_, fault) => {
    const started = await start();
    await pull(started, { faults: ['ok', fault] });
    expect(started.upstream.count(gets)).toBeLessThanOrEqual(3);
    expect(most(started)).toBe(0);
    expect(started.upstream.sentBytes(gets)).toBeLessThanOrEqual(1.05 * size);
    await expectStored(started);
  });

  test('429 in the middle, with several under way', async () => {
    const started = await start();
    await pull(started, {
      faults: ['ok', 'ok', 'ok', 'ok', 'ok', { status: 429, headers: { 'retry-after': '86400' } }],
    });
    expect(most(started)).toBeGreaterThan(0);
    expect(started.upstream.count(gets)).toBe(6);
    expect(started.upstream.sentBytes(gets)).toBeLessThanOrEqual(1.05 * size);
    await expectStored(started);
  });
});

describe('a segment that goes wrong', () => {
  test.each<[string, Fault]>([
    ['is cut', { cutAfter: 256 * 1024 + 1, how: 'fin' }],
    ['is reset', { cutAfter: 256 * 1024 + 1, how: 'rst' }],
    ['has no answer', { drop: 'fin' }],
    ['is answered 503', { status: 503 }],
  ])('since it %s is asked for again', async (_, fault) => {
    const started = await start();
    await pull(started, { faults: ['ok', fault, 'ok', fault, fault] });
    expect(started.cache.seen('segments-changed').some(({ error }) => error !== undefined)).toBe(true);
    expect(started.upstream.sentBytes(gets)).toBeLessThanOrEqual(1.05 * size);
    await expectStored(started);
  });

  test('since it stalls is asked for again after the idle time', async () => {
    const started = await start({ timeouts: { ...patient.timeouts, idle: '2s' } });
    await pull(started, { faults: ['ok', { stallAfter: 256 * 1024 }] });
    expect(started.upstream.sentBytes(gets)).toBeLessThanOrEqual(1.05 * size);
    await expectStored(started);
  });

  test('by a flipped bit costs one more transfer, over one connection', async () => {
    const started = await start();
    const { upstream: host, cache, path } = started;
    const pulled = cache.get(path);
    const paced = pace({ host, cache, faults: ['ok', { corruptAt: 1000 }] });
    await paced.until(pulled);
    // It was read by then, and whoever has got a wrong byte is cut off.
    expect((await pulled).failure).toBeDefined();
    await paced.untilTrue(() => cache.seen('ingest-ended').length > 0);
    expect(cache.seen('ingest-restarted')).toHaveLength(1);
    expect(ranges(started).slice(-1)).toEqual([undefined]);
    expect(ranges(started).filter((range) => range === undefined)).toHaveLength(2);
    expect(host.sentBytes(gets)).toBeLessThanOrEqual(2.05 * size);
    await expectStored(started);
  });
});
