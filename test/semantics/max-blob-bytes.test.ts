import { seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startPair } from './cache-under-test.ts';

const MiB = 1024 * 1024;
const most = 3 * MiB;
const blobs = { path: /\/blobs\// };
const limits = { maxBlobBytes: most };
const pathOf = (digest: string) => `/v2/up/team/app/blobs/${digest}`;

async function expectRefused(cache: CacheUnderTest, digest: string, range?: string): Promise<void> {
  for (const method of ['get', 'head'] as const) {
    const got = await cache[method](pathOf(digest), range === undefined ? {} : { headers: { range } });
    expect([method, got.status]).toEqual([method, 403]);
    if (method === 'get')
      expect([got.errorCode, got.body.toString()]).toEqual([
        'DENIED',
        expect.stringMatching(/larger than the 3145728 bytes/),
      ]);
  }
  const ended = cache.seen('ingest-ended').filter((event) => event.digest === digest);
  expect(ended.filter(({ outcome }) => outcome === 'stored')).toEqual([]);
}

describe('50: a blob over limits.maxBlobBytes is refused', () => {
  test('before it is asked for, where the manifest of the repository tells its size', async () => {
    const { upstream, cache } = await startPair({ limits, prefetch: 'layers' });
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [most, most + 1] });
    expect((await cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    expect((await cache.get(pathOf(layers[0]?.digest ?? ''))).body).toHaveLength(most);
    upstream.clear();
    expect((await cache.get(pathOf(layers[1]?.digest ?? ''))).status).toBe(403);
    expect(upstream.count({ method: 'GET', ...blobs })).toBe(0);
    await expectRefused(cache, layers[1]?.digest ?? '');
    expect(cache.seen('prefetch-paused')).toEqual([]);
  });

  test('before a byte of it is sent, where the upstream tells its size', async () => {
    const { upstream, cache } = await startPair({ limits });
    const digest = upstream.putBlob('team/app', seededBytes('large', most + 1));
    await expectRefused(cache, digest);
    await expectRefused(cache, digest, 'bytes=0-9');
    // A hint of another repository's says nothing of this one's.
    const right = upstream.putBlob('team/app', seededBytes('right', most));
    expect((await cache.get(pathOf(right))).status).toBe(200);
  });

  test('or cut off, where nobody tells it', async () => {
    const { upstream, cache } = await startPair({ limits, fake: { personality: 'no-content-length' } });
    const digest = upstream.putBlob('team/app', seededBytes('large', 3 * most));
    for (let i = 0; i < 2; i++) {
      const got = await cache.get(pathOf(digest));
      expect(got.failure).toBeDefined();
      expect(got.body.byteLength).toBeLessThanOrEqual(most);
    }
    expect(cache.seen('ingest-ended').map(({ outcome }) => outcome)).toEqual(['failed', 'failed']);
    const right = upstream.putBlob('team/app', seededBytes('right', most));
    expect((await cache.get(pathOf(right))).body).toHaveLength(most);
  });

  test('and served, where it is stored already', async () => {
    const { upstream, cache } = await startPair();
    const digest = upstream.putBlob('team/app', seededBytes('large', most + 1));
    expect((await cache.get(pathOf(digest))).status).toBe(200);
    await expect.poll(() => cache.seen('ingest-ended').map(({ outcome }) => outcome)).toEqual(['stored']);
    await cache.cache.upstreams.update('up', { limits });
    expect((await cache.get(pathOf(digest))).body).toHaveLength(most + 1);
  });
});
