import { createHash } from 'node:crypto';
import { seededBytes, sha256 } from '@proxycache/test-kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CacheProcess, startCacheProcess } from '../peers/cache-process.ts';
import { buildArtifact, type Content, contentOf } from '../peers/image-builder.ts';
import type { UpstreamPeer } from '../peers/upstream-peer.ts';
import { configFor, hasPrograms, startUpstream, upstreamKey } from './world.ts';

const size = 64 * 1024 * 1024;
const repository = 'library/big';

describe.skipIf(!hasPrograms({}))('a blob of 64 MiB', () => {
  let layer: Content;
  let upstream: UpstreamPeer;
  let cache: CacheProcess;

  beforeAll(async () => {
    layer = contentOf('application/octet-stream', seededBytes('big', size));
    upstream = await startUpstream();
    await upstream.push(repository, '1.0', buildArtifact({ artifactType: 'application/vnd.example.big', layer }));
  });
  afterAll(() => upstream.close());

  const url = () => `${cache.url}/v2/${upstreamKey}/${repository}/blobs/${layer.digest}`;
  const digestFrom = async (response: Response): Promise<string> => {
    const hash = createHash('sha256');
    for await (const chunk of response.body!) hash.update(chunk);
    return `sha256:${hash.digest('hex')}`;
  };

  it('is moved once for ten clients at once', async () => {
    cache = await startCacheProcess(configFor(upstream));
    try {
      const digests = await Promise.all(Array.from({ length: 10 }, async () => digestFrom(await fetch(url()))));
      expect(new Set(digests)).toEqual(new Set([layer.digest]));
      const moved = upstream
        .takeAllRequests()
        .filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'));
      expect(moved).toHaveLength(1);
    } finally {
      await cache.close();
    }
  });

  it('comes whole after the cache crashed in the middle of it', async () => {
    cache = await startCacheProcess(configFor(upstream));
    try {
      const cut = await fetch(url());
      const reader = cut.body!.getReader();
      await reader.read();
      const rest = (async () => {
        while (!(await reader.read()).done);
      })();
      const broken = expect(rest).rejects.toThrow();
      await cache.crash();
      await broken;
      expect(await digestFrom(await fetch(url()))).toBe(layer.digest);
      // The last byte leaves when the blob is verified; the store has it a moment later.
      await expect
        .poll(async () => (await fetch(url(), { method: 'HEAD' })).headers.get('cache-status'))
        .toBe('proxycache; hit');
      await cache.crash();
      upstream.takeRequests();
      expect(await digestFrom(await fetch(url()))).toBe(layer.digest);
      // A crash may have come before it was written down whose blob it is: that is asked for again, its bytes are not.
      expect(upstream.takeRequests().filter((request) => !request.startsWith('HEAD '))).toEqual([]);
    } finally {
      await cache.close();
    }
  });

  it('is served by ranges, from the store', async () => {
    cache = await startCacheProcess(configFor(upstream));
    try {
      await digestFrom(await fetch(url()));
      upstream.takeRequests();
      const middle = await fetch(url(), { headers: { range: 'bytes=1000000-1999999' } });
      expect(middle.status).toBe(206);
      expect(middle.headers.get('content-range')).toBe(`bytes 1000000-1999999/${size}`);
      expect(await digestFrom(middle)).toBe(sha256(layer.bytes.subarray(1_000_000, 2_000_000)));
      expect((await fetch(url(), { headers: { range: `bytes=${size}-` } })).status).toBe(416);
      expect(upstream.takeRequests()).toEqual([]);
    } finally {
      await cache.close();
    }
  });
});
