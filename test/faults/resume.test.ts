import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type FakeUpstreamOptions, gate, type Step, seededBytes, startFakeCdn } from '@proxycache/test-kit';
import { request as undiciRequest } from 'undici';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startPair } from '../semantics/cache-under-test.ts';
import { stepClock } from '../semantics/step-clock.ts';

const MiB = 1024 * 1024;
const size = 16 * MiB;
const bytes = Buffer.from(seededBytes('resume', size));
const gets = { method: 'GET', path: /\/blobs\// };
// Time limits that pass only where a test lets them.
const timeouts = { connect: '1d', headers: '1d', idle: '20s' } as const;
const patient = { timeouts, blobWithin: '1d', limits: { queueFor: '1d' }, breaker: { maxOpenFor: '4s' } } as const;

type PairOptions = Parameters<typeof startPair>[0];

async function start(options: PairOptions = {}) {
  const pair = await startPair({ ...patient, ...options });
  const digest = pair.upstream.putBlob('team/app', bytes);
  return { ...pair, digest, path: `/v2/up/team/app/blobs/${digest}` };
}

type Started = Awaited<ReturnType<typeof start>>;

const rangesAsked = ({ upstream }: Started) => upstream.requests.map(({ headers }) => headers.range);
const resumes = (cache: CacheUnderTest) => cache.seen('ingest-resumed').map(({ from, attempt }) => [from, attempt]);

async function expectStored({ cache, upstream, path }: Started): Promise<void> {
  await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('stored');
  expect(
    readdirSync(join(cache.directory, 'spool'), { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    ),
  ).toEqual([]);
  await upstream.stop();
  const again = await cache.get(path);
  expect([again.status, again.failure, again.body.equals(bytes)]).toEqual([200, undefined, true]);
}

/** A client that says how far it has come. */
async function stream(cache: CacheUnderTest, path: string) {
  const { statusCode, body } = await undiciRequest(`${cache.url}${path}`);
  let received = 0;
  const chunks: Buffer[] = [];
  const ended = (async () => {
    for await (const chunk of body) {
      received += chunk.length;
      chunks.push(chunk);
    }
    return digestOfBody(Buffer.concat(chunks));
  })();
  ended.catch(() => undefined);
  return { status: statusCode, received: () => received, ended };
}

/** Lets a stall be noticed, once all that came before it has arrived. */
async function noticeStall(cache: CacheUnderTest, arrived: () => boolean): Promise<void> {
  await expect.poll(arrived).toBe(true);
  await expect.poll(() => cache.clock.next()).toBe(20_000);
  await cache.clock.advance(20_000);
}

describe.each(['fin', 'rst'] as const)('32: a transfer that is cut (%s)', (how) => {
  test.each([1, 5])('%i times is one complete answer, and stored', async (times) => {
    const started = await start();
    const { upstream, cache, path, digest } = started;
    // What a reset overtakes was sent in vain; at a pace that can be followed that is next to nothing.
    const cut: Step = [{ cutAfter: 3 * MiB - 1, how }, { slow: { chunkBytes: 128 * 1024, everyMs: 2 } }];
    upstream.script(gets, Array<Step>(times).fill(cut));
    const got = await cache.get(path);
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
    expect(upstream.count(gets)).toBe(times + 1);
    expect(upstream.count({ method: 'HEAD' })).toBe(0);
    const froms = resumes(cache).map(([from]) => from);
    expect(rangesAsked(started)).toEqual([undefined, ...froms.map((from) => `bytes=${from}-`)]);
    if (how === 'fin') expect(froms).toEqual(Array.from({ length: times }, (_, i) => (i + 1) * (3 * MiB - 1)));
    expect(upstream.requests.slice(1).map(({ headers }) => headers['if-match'])).toEqual(
      Array(times).fill(`"${digest}"`),
    );
    expect(upstream.sentBytes()).toBeLessThanOrEqual(1.05 * size);
    await expectStored(started);
  });
});

test.each([
  ['its first byte', 0],
  ['its first byte came', 1],
  ['its last byte', size - 1],
  ['its end', size],
])('a transfer that is cut before %s is one complete answer', async (_, cutAfter) => {
  const started = await start();
  started.upstream.script(gets, [{ cutAfter, how: 'fin' }]);
  const got = await started.cache.get(started.path);
  expect([got.status, got.failure, got.body.equals(bytes)]).toEqual([200, undefined, true]);
  expect(started.upstream.sentBytes()).toBe(size);
  await expectStored(started);
});

test('a transfer that stalls twice goes on after the idle time', async () => {
  const started = await start();
  const { upstream, cache, path, digest } = started;
  upstream.script(gets, [{ stallAfter: 5 * MiB }, { stallAfter: 5 * MiB }]);
  const client = await stream(cache, path);
  await noticeStall(cache, () => client.received() === 5 * MiB);
  await noticeStall(cache, () => client.received() === 10 * MiB);
  expect([client.status, await client.ended]).toEqual([200, digest]);
  expect(resumes(cache)).toEqual([
    [5 * MiB, 1],
    [10 * MiB, 1],
  ]);
  expect(upstream.sentBytes()).toBe(size);
  await expectStored(started);
});

describe('a transfer that is cut', () => {
  const cut: Step = { cutAfter: 5 * MiB, how: 'fin' };

  test.each([
    ['ignores ranges', { personality: 'no-ranges' }, 1 + 5 / 16],
    ['tells no length', { personality: 'no-content-length' }, 1],
    ['ignores ranges and tells no length', { personality: ['no-ranges', 'no-content-length'] }, 1 + 5 / 16],
  ] as [string, FakeUpstreamOptions, number][])('goes on at an upstream that %s', async (_, fake, times) => {
    const started = await start({ fake });
    const { upstream, cache, path, digest } = started;
    upstream.script(gets, [cut]);
    const got = await cache.get(path);
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
    expect(upstream.sentBytes()).toBe(times * size);
    await expectStored(started);
  });

  test('goes on by a fresh signed URL where the one it came by has expired', async () => {
    const cdn = await startFakeCdn();
    onTestFinished(() => cdn.stop());
    const started = await start({ fake: { redirectBlobsTo: cdn } });
    const { upstream, cache, path, digest } = started;
    const held = gate();
    cdn.script({ method: 'GET' }, [cut]);
    upstream.script(gets, ['ok', { gate: held }]);
    const pulled = cache.get(path);
    await held.reached;
    cdn.expire();
    held.open();
    const got = await pulled;
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
    expect(cdn.requests.map(({ status, headers }) => [status, headers.range])).toEqual([
      [200, undefined],
      [206, `bytes=${5 * MiB}-`],
    ]);
    expect(cdn.sentBytes()).toBe(size);
    await expectStored(started);
  });

  test('goes on with a fresh token where the one it came by has expired', async () => {
    const started = await start({ fake: { auth: { bearer: {} } } });
    const { upstream, cache, path, digest } = started;
    const held = gate();
    upstream.script(gets, [cut, { gate: held }]);
    const pulled = cache.get(path);
    await held.reached;
    upstream.revokeTokens();
    held.open();
    const got = await pulled;
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
    expect(upstream.tokenCalls()).toBe(2);
    await expectStored(started);
  });

  test('goes on when the upstream is back, and no request of anybody fails meanwhile', async () => {
    const started = await start();
    const { upstream, cache, path, digest } = started;
    const held = gate();
    upstream.script(gets, [cut, { gate: held }]);
    const pulled = Promise.all([cache.get(path), cache.get(path, { headers: { range: `bytes=${8 * MiB}-` } })]);
    await held.reached;
    await upstream.stop();
    const backAt = cache.clock.now() + 60_000;
    let back: Promise<void> | undefined;
    const [whole, part] = await stepClock(cache.clock, pulled, (ms) => {
      if (cache.clock.now() >= backAt) back ??= upstream.start();
      return ms <= 5_000;
    });
    await back;
    expect([whole.status, whole.failure, digestOfBody(whole.body)]).toEqual([200, undefined, digest]);
    expect([part.status, part.failure, part.body.equals(bytes.subarray(8 * MiB))]).toEqual([206, undefined, true]);
    expect(upstream.sentBytes()).toBe(size);
    await expectStored(started);
  });

  test('is given up where nothing new comes for `resumeWithin`; the next pull succeeds', async () => {
    const started = await start({ resumeWithin: '10s' });
    const { upstream, cache, path, digest } = started;
    const held = gate();
    upstream.script(gets, [cut, { gate: held }]);
    const pulled = cache.get(path);
    await held.reached;
    await upstream.stop();
    const began = cache.clock.now();
    const got = await stepClock(cache.clock, pulled);
    expect([got.status, got.failure !== undefined]).toEqual([200, true]);
    expect(cache.clock.now() - began).toBeLessThan(15_000);
    await expect.poll(() => cache.seen('ingest-ended').at(-1)).toMatchObject({ outcome: 'failed', bytes: 5 * MiB });
    upstream.heal();
    await upstream.start();
    await cache.clock.advance(5_000);
    const next = await stepClock(cache.clock, cache.get(path));
    expect([next.status, next.failure, digestOfBody(next.body)]).toEqual([200, undefined, digest]);
    await expectStored(started);
  });

  test('is given up where a byte comes at a time, before long', async () => {
    const { upstream, cache, path } = await start();
    upstream.on(gets, { cutAfter: 1, how: 'fin' });
    const got = await stepClock(cache.clock, cache.get(path));
    expect(got.status !== 200 || got.failure !== undefined).toBe(true);
    expect(upstream.count(gets)).toBe(17);
  });

  test('costs no client of a herd anything, and the upstream no more than one', async () => {
    const started = await start();
    const { upstream, cache, path, digest } = started;
    upstream.script(gets, [cut, cut, cut]);
    const all = await Promise.all(Array.from({ length: 10 }, () => cache.get(path)));
    for (const got of all) expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
    expect(upstream.count(gets)).toBe(4);
    expect(upstream.sentBytes()).toBe(size);
    await expectStored(started);
  });

  test('ends when the cache is closed', async () => {
    const { upstream, cache, path } = await start();
    const held = gate();
    upstream.script(gets, [cut, { gate: held }]);
    const pulled = cache.get(path);
    await held.reached;
    await stepClock(cache.clock, cache.cache.close({ graceMs: 0 }));
    expect((await pulled).failure).toBeDefined();
    expect(cache.seen('ingest-ended').at(-1)).toMatchObject({ outcome: 'failed' });
    expect(cache.clock.pending()).toBe(0);
  });
});

describe('what is passed through without being kept goes on where it was cut', () => {
  const noRoom = { cache: { minFree: Number.MAX_SAFE_INTEGER } };
  const cut: Step = { cutAfter: 3 * MiB, how: 'fin' };
  const last = size - 1;

  test.each([
    ['the whole', noRoom, undefined, [undefined, `bytes=${3 * MiB}-`, `bytes=${6 * MiB}-`]],
    ['what goes on to the end', noRoom, [0, last], [undefined, `bytes=${3 * MiB}-`, `bytes=${6 * MiB}-`]],
    [
      'a part',
      noRoom,
      [MiB, 9 * MiB],
      [`bytes=${MiB}-${9 * MiB}`, `bytes=${4 * MiB}-${9 * MiB}`, `bytes=${7 * MiB}-${9 * MiB}`],
    ],
    [
      'a part of what is not here',
      {},
      [MiB, 9 * MiB],
      [`bytes=${MiB}-${9 * MiB}`, `bytes=${4 * MiB}-${9 * MiB}`, `bytes=${7 * MiB}-${9 * MiB}`],
    ],
  ] as [string, PairOptions, [number, number] | undefined, unknown[]][])('%s', async (_, options, part, asked) => {
    const { upstream, cache, path } = await start(options);
    upstream.script(gets, [cut, cut]);
    const [from, to] = part ?? [0, last];
    const got = await cache.get(path, part && { headers: { range: `bytes=${from}-${to}` } });
    expect([got.status, got.failure]).toEqual([part ? 206 : 200, undefined]);
    expect(got.body.equals(bytes.subarray(from, to + 1))).toBe(true);
    const requests = upstream.requests.filter(({ method }) => method === 'GET');
    expect(requests.map(({ headers }) => headers.range)).toEqual(asked);
    expect(upstream.sentBytes()).toBe(to + 1 - from);
    expect(resumes(cache)).toHaveLength(2);
    await expect.poll(() => upstream.underWay()).toBe(0);
  });

  test('and a client that leaves meanwhile ends it', async () => {
    const { upstream, cache, path } = await start(noRoom);
    const held = gate();
    upstream.script(gets, [cut, { gate: held }]);
    const leaving = new AbortController();
    const pulled = cache.get(path, { signal: leaving.signal });
    await held.reached;
    leaving.abort();
    await pulled.catch(() => undefined);
    await expect.poll(() => upstream.underWay()).toBe(0);
    expect(upstream.count(gets)).toBe(2);
  });
});
