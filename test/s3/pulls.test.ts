import { createProxyCache, digestOf, memoryStorage, type ProxyCache, type ProxyCacheEvent } from '@proxycache/core';
import { type S3Blobs, type S3BlobsOptions, s3Blobs } from '@proxycache/s3';
import { type AddedImage, type FakeUpstream, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { type S3Server, startS3Server } from './s3-server.ts';

const waiting = { timeout: 15_000, interval: 20 };

describe('pulls with blobs in S3', () => {
  let server: S3Server;
  let upstream: FakeUpstream;
  let image: AddedImage;
  let folder: string;
  let events: ProxyCacheEvent[];
  let metadata: ReturnType<typeof memoryStorage>['metadata'];
  const replicas: { cache: ProxyCache; blobs: S3Blobs }[] = [];

  beforeEach(async () => {
    server = await startS3Server();
    upstream = await startFakeUpstream();
    image = upstream.addImage('team/app', { tag: '1', layerSizes: [12_000_000, 1_000] });
    folder = makeTemporaryFolder('s3-pulls');
    metadata = memoryStorage().metadata;
    events = [];
  });
  afterEach(async () => {
    await close();
    await upstream?.stop();
    await server?.close();
    removeFolder(folder);
  });

  async function close(): Promise<void> {
    for (const { cache, blobs } of replicas.splice(0)) {
      await cache.close();
      await blobs.close();
    }
  }

  /** A cache of a process of its own, as far as it can tell. All share the bucket and the records. */
  function startReplica(more: Partial<S3BlobsOptions> = {}): ProxyCache {
    const { bucket, config: options } = server;
    const blobs = s3Blobs({ bucket, options, partSize: 5 * 1024 * 1024, ...more });
    const cache = createProxyCache({
      upstreams: [{ key: 'up', url: upstream.url, freshFor: '1h' }],
      storage: { blobs, metadata, spoolDirectory: folder },
      observer: (event) => events.push(event),
    });
    replicas.push({ cache, blobs });
    return cache;
  }

  const get = async (cache: ProxyCache, path: string, headers = {}) => {
    const response = await cache.fetch(new Request(`http://cache/v2/up/team/app/${path}`, { headers }));
    return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) };
  };

  async function pull(cache: ProxyCache, { root, blobs }: AddedImage, tag: string): Promise<void> {
    const manifest = await get(cache, `manifests/${tag}`);
    expect([manifest.status, digestOf(manifest.bytes)]).toEqual([200, root.digest]);
    for (const { digest } of blobs) {
      const blob = await get(cache, `blobs/${digest}`);
      expect([blob.status, digestOf(blob.bytes)]).toEqual([200, digest]);
    }
  }

  const largest = () => [...image.blobs].sort((a, b) => b.size - a.size)[0]!.digest;
  const failures = () => events.filter(({ type }) => type === 'store-failed');
  const stored = () => events.filter((event) => event.type === 'ingest-ended' && event.outcome === 'stored');

  test('a replica serves what another stored, whole and in parts, and asks the upstream nothing', async () => {
    await pull(startReplica(), image, '1');
    await expect.poll(() => stored().length, waiting).toBe(image.blobs.length);
    const asked = upstream.requests.length;
    const cache = startReplica();
    await pull(cache, image, '1');
    const digest = largest();
    const whole = await get(cache, `blobs/${digest}`);
    const part = await get(cache, `blobs/${digest}`, { range: 'bytes=10-99' });
    expect(part.status).toBe(206);
    expect(part.bytes.equals(whole.bytes.subarray(10, 100))).toBe(true);
    expect(upstream.requests.length).toBe(asked);
    expect(failures()).toEqual([]);
  });

  test.each(['kill', 'freeze'] as const)('no pull fails after a %s, and an event says so', async (how) => {
    const cache = startReplica({ answerWithin: '1s', idleWithin: '1s' });
    await pull(cache, image, '1');
    await expect.poll(() => stored().length, waiting).toBe(image.blobs.length);
    await server[how]();
    await pull(cache, image, '1');
    await pull(cache, upstream.addImage('team/app', { tag: '2', layerSizes: [200_000] }), '2');
    expect(JSON.stringify(failures())).toMatch(/S3 \(bucket blobs\)|did not answer/);
  });

  test('a body that S3 gives up half-way comes to its end from the upstream', async () => {
    await pull(startReplica(), image, '1');
    await expect.poll(() => stored().length, waiting).toBe(image.blobs.length);
    const cache = startReplica();
    const digest = largest();
    const response = await cache.fetch(new Request(`http://cache/v2/up/team/app/blobs/${digest}`));
    const reader = response.body!.getReader();
    const chunks = [(await reader.read()).value!];
    await server.kill();
    for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value);
    expect(digestOf(Buffer.concat(chunks))).toBe(digest);
  });
});
