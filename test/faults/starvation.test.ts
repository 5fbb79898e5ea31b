import { chunkGate, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startCache, startUpstream } from '../semantics/cache-under-test.ts';

const maxIngests = 4;
const patience = { timeout: 15_000 };
const noBlob = (i: number) => `/v2/bad/team/app/blobs/sha256:${i.toString(16).padStart(64, '0')}`;

/** A cache of two upstreams, of which one keeps all who ask it for blobs waiting. */
async function startTwo(trouble: 'refuses connections' | 'answers nothing' | 'stops in the middle') {
  const bad = await startUpstream();
  const good = await startUpstream();
  const blob = good.putBlob('team/app', seededBytes('good', 1000));
  const large = [...Array(maxIngests).keys()].map((i) => bad.putBlob('team/app', seededBytes(`large ${i}`, 100_000)));
  if (trouble === 'refuses connections') await bad.stop();
  if (trouble === 'answers nothing') bad.on({}, { hang: true });
  if (trouble === 'stops in the middle') bad.on({}, { stallAfter: 50_000 });
  const cache = await startCache({
    upstreams: [
      { key: 'bad', url: bad.url },
      { key: 'good', url: good.url },
    ],
    maxIngests,
  });
  // Its breaker is open: all who ask for blobs wait.
  if (trouble === 'refuses connections') for (let i = 0; i < 3; i++) await cache.get('/v2/bad/team/app/manifests/1');
  const begun = trouble === 'stops in the middle';
  const paths = begun
    ? large.map((digest) => `/v2/bad/team/app/blobs/${digest}`)
    : [...Array(maxIngests).keys()].map(noBlob);
  const clients = paths.map(() => new AbortController());
  const answers = paths.map((path, i) => cache.get(path, { signal: clients[i]!.signal }).catch(() => 'left'));
  await expect.poll(() => cache.seen('ingest-started').length, patience).toBe(maxIngests);
  if (trouble === 'answers nothing') await expect.poll(() => bad.requests.length, patience).toBe(maxIngests);
  return { bad, cache, goodPath: `/v2/good/team/app/blobs/${blob}`, clients, answers };
}

/** Moves the clock on by so many ms, slowly enough for sockets and files to keep up. */
async function pass(cache: CacheUnderTest, ms: number): Promise<void> {
  for (let gone = 0; gone < ms; gone += 50) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    await cache.clock.advance(50);
  }
}

describe('transfers of an upstream that is in trouble take no places from another upstream', () => {
  test.each(['refuses connections', 'answers nothing'] as const)(
    'one that %s: once its clients have left, their transfers are given up at once',
    async (trouble) => {
      const { cache, goodPath, clients, answers } = await startTwo(trouble);
      await pass(cache, 2_000);
      for (const client of clients) client.abort();
      await Promise.all(answers);
      await expect.poll(() => cache.seen('ingest-ended').length, patience).toBe(maxIngests);
      expect(cache.seen('ingest-ended')[0]).toMatchObject({
        outcome: 'failed',
        bytes: 0,
        error: 'all who waited for its first byte have left',
      });
      expect((await cache.get(goodPath)).status).toBe(200);
    },
  );

  test.each(['refuses connections', 'answers nothing', 'stops in the middle'] as const)(
    'one that %s: while its clients wait',
    async (trouble) => {
      const { cache, goodPath, answers } = await startTwo(trouble);
      if (trouble !== 'refuses connections') expect((await cache.get(goodPath)).status).toBe(503);
      // What a transfer that stops has of its bytes may come late, on a slow machine.
      for (let gone = 0; gone < 30_000; gone += 6_000) {
        await pass(cache, 6_000);
        if ((await cache.get(goodPath)).status === 200) break;
      }
      expect(cache.seen('ingest-ended')).toEqual([]);
      expect((await cache.get(goodPath)).status).toBe(200);
      if (trouble === 'stops in the middle') return;
      // It has as many places as there are, and no more.
      expect((await cache.get(noBlob(maxIngests))).status).toBe(503);
      await pass(cache, 60_000);
      for (const got of await Promise.all(answers)) expect(got).toMatchObject({ status: expect.any(Number) });
    },
  );

  test('one that breaks off: what nobody reads is given up when nothing more comes for 30 s', async () => {
    const { bad, cache, clients, answers } = await startTwo('stops in the middle');
    await pass(cache, 1_000);
    await bad.stop();
    for (const client of clients) client.abort();
    await Promise.all(answers);
    await pass(cache, 27_000);
    expect(cache.seen('ingest-ended')).toEqual([]);
    await pass(cache, 6_000);
    await expect.poll(() => cache.seen('ingest-ended').length, patience).toBe(maxIngests);
    expect(cache.seen('ingest-ended')[0]!.error).toBe('nothing more came, and nobody was left to read it');
  });

  test('a transfer that has begun goes on when its clients have left, however slowly it comes', {
    timeout: 60_000,
  }, async () => {
    const upstream = await startUpstream();
    const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url }] });
    const gate = chunkGate(10_000);
    const path = `/v2/up/team/app/blobs/${upstream.putBlob('team/app', seededBytes('slow', 40_000))}`;
    upstream.on({}, { throttle: gate });
    gate.allow(1);
    const client = new AbortController();
    const left = cache.get(path, { signal: client.signal }).catch(() => 'left');
    await pass(cache, 1_000);
    client.abort();
    await left;
    for (let i = 0; i < 3; i++) {
      await pass(cache, 25_000);
      expect(cache.seen('ingest-ended')).toEqual([]);
      gate.allow(1);
    }
    await expect.poll(() => cache.seen('ingest-ended'), patience).toMatchObject([{ outcome: 'stored', bytes: 40_000 }]);
  });

  test('whoever comes while one that is given up ends begins another', async () => {
    const { bad, cache, clients, answers } = await startTwo('answers nothing');
    clients[0]!.abort();
    await answers[0];
    await expect.poll(() => cache.seen('ingest-ended').length, patience).toBe(1);
    bad.clear();
    void cache.get(noBlob(0)).catch(() => undefined);
    await expect.poll(() => bad.requests.length, patience).toBe(1);
  });
});

describe('who joins a transfer that waits for its upstream', () => {
  test('does not fail with it, but begins another where it has longer to wait', async () => {
    const upstream = await startUpstream();
    const cache = await startCache({
      upstreams: [{ key: 'up', url: upstream.url, blobWithin: '10s', breaker: { openFor: '1s', maxOpenFor: '1s' } }],
    });
    const path = `/v2/up/team/app/blobs/${upstream.putBlob('team/app', seededBytes('late', 1000))}`;
    await upstream.stop();
    for (let i = 0; i < 3; i++) await cache.get('/v2/up/team/app/manifests/1');
    const first = cache.get(path);
    await expect.poll(() => cache.seen('ingest-started').length, patience).toBe(1);
    await pass(cache, 8_000);
    const late = cache.get(path);
    await pass(cache, 3_000);
    expect((await first).status).toBeGreaterThanOrEqual(502);
    await expect.poll(() => cache.seen('ingest-started').length, patience).toBe(2);
    await upstream.start();
    await pass(cache, 3_000);
    expect((await late).status).toBe(200);
  });

  test('fails with it where both began to wait at once', async () => {
    const upstream = await startUpstream();
    const cache = await startCache({ upstreams: [{ key: 'bad', url: upstream.url, blobWithin: '5s' }] });
    upstream.on({}, { hang: true });
    const answers = [cache.get(noBlob(0)), cache.get(noBlob(0)), cache.get(noBlob(0))];
    await expect.poll(() => upstream.requests.length, patience).toBe(1);
    await pass(cache, 6_000);
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([504, 504, 504]);
    expect(cache.seen('ingest-started')).toHaveLength(1);
  });
});
