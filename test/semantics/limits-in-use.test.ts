import { systemClock } from '@proxycache/core';
import { seededBytes } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { startPair } from './cache-under-test.ts';

const MiB = 1024 * 1024;
const pathOf = (digest: string) => `/v2/up/team/app/blobs/${digest}`;

test('50: clients that leave give back what others then have, and all who stay get whole blobs', async () => {
  const rate = 4 * MiB;
  const { upstream, cache } = await startPair({
    limits: { bytesPerSecond: rate, maxConnections: 4 },
    segments: { connections: 3, minSize: MiB },
    cache: { clock: systemClock },
  });
  const blobs = Array.from({ length: 6 }, (_, i) => {
    const bytes = seededBytes(`blob ${i}`, 2 * MiB);
    return { bytes, digest: upstream.putBlob('team/app', bytes) };
  });
  const leaving = blobs.slice(0, 3).map(async ({ digest }) => {
    const left = new AbortController();
    const response = await fetch(`${cache.url}${pathOf(digest)}`, { signal: left.signal });
    await response.body?.getReader().read();
    left.abort();
  });
  const slow = fetch(`${cache.url}${pathOf(blobs[5]!.digest)}`);
  const staying = blobs.slice(3, 5).map(async ({ digest, bytes }) => {
    const got = await cache.get(pathOf(digest));
    expect([got.status, got.failure, Buffer.compare(got.body, bytes)]).toEqual([200, undefined, 0]);
  });
  await Promise.all([...leaving, ...staying]);
  expect(Buffer.compare(Buffer.from(await (await slow).arrayBuffer()), blobs[5]!.bytes)).toBe(0);
  for (const { digest, bytes } of blobs) {
    const got = await cache.get(pathOf(digest));
    expect([got.status, got.failure, Buffer.compare(got.body, bytes)]).toEqual([200, undefined, 0]);
  }
});

test('50: warming tells of a blob over maxBlobBytes, stores the rest, and is done with it', async () => {
  const { upstream, cache } = await startPair({ limits: { maxBlobBytes: MiB } });
  const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [MiB, MiB + 1] });
  const { references } = await cache.cache.warm(['up/team/app:1']);
  expect(references[0]).toMatchObject({ outcome: 'failed', failures: 1, error: { code: 'blob-too-large' } });
  upstream.clear();
  expect((await cache.get(pathOf(layers[0]!.digest))).body).toHaveLength(MiB);
  for (const range of ['bytes=0-9', 'bytes=-5', 'bytes=0-1,5-6']) {
    const got = await cache.get(pathOf(layers[1]!.digest), { headers: { range } });
    expect([range, got.status, got.errorCode]).toEqual([range, 403, 'DENIED']);
  }
  expect(upstream.count({ method: 'GET' })).toBe(0);
});
