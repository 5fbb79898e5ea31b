import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { S3Client } from '@aws-sdk/client-s3';
import {
  createProxyCache,
  digestOf,
  memoryStorage,
  type ProxyCache,
  type ProxyCacheEvent,
  type ProxyCacheOptions,
} from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { type S3Blobs, type S3BlobsOptions, s3Blobs } from '@proxycache/s3';
import { type AddedImage, type FakeUpstream, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startLoopbackServer } from '../peers/loopback-server.ts';
import { runOk } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { requireProgram } from '../system.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { readAll } from './read-all.ts';
import { type S3Server, startS3Server } from './s3-server.ts';

const skopeo = requireProgram('skopeo');
const { signal } = new AbortController();
const waiting = { timeout: 15_000, interval: 20 };

describe('reads that are sent to S3', () => {
  let server: S3Server;
  let proxy: FaultProxy;
  let upstream: FakeUpstream;
  let image: AddedImage;
  let folder: string;
  let events: ProxyCacheEvent[];
  let stores = 0;
  const replicas: { cache: ProxyCache; blobs: S3Blobs }[] = [];

  beforeAll(async () => {
    server = await startS3Server();
    proxy = await startFaultProxy(server);
    folder = makeTemporaryFolder('s3-redirects');
  });
  beforeEach(async () => {
    upstream = await startFakeUpstream();
    image = upstream.addImage('team/app', { tag: '1', layerSizes: [300_000, 1_000] });
    events = [];
    stores++;
  });
  afterEach(async () => {
    proxy.faultOf = () => undefined;
    for (const { cache, blobs } of replicas.splice(0)) {
      await cache.close();
      await blobs.close();
    }
    await upstream?.stop();
  });
  afterAll(async () => {
    await proxy?.close();
    await server?.close();
    removeFolder(folder);
  });

  const open = (more: Partial<S3BlobsOptions> = {}) =>
    s3Blobs({
      ...{ bucket: server.bucket, options: { ...server.config, endpoint: proxy.endpoint }, answerWithin: '20s' },
      ...{ prefix: `redirects-${stores}/`, redirectReads: true },
      ...more,
    });

  /** A cache whose store has the image. */
  async function startFilled(
    more: Partial<S3BlobsOptions> = {},
    rules: Partial<ProxyCacheOptions> = {},
  ): Promise<ProxyCache> {
    const blobs = open(more);
    const { metadata } = memoryStorage();
    const cache = createProxyCache({
      upstreams: [{ key: 'up', url: upstream.url, freshFor: '1h' }],
      storage: { blobs, metadata, spoolDirectory: folder },
      observer: (event) => events.push(event),
      ...rules,
    });
    replicas.push({ cache, blobs });
    await get(cache, 'manifests/1');
    for (const { digest } of image.blobs) expect((await get(cache, `blobs/${digest}`)).status).toBe(200);
    const stored = () => events.filter((event) => event.type === 'ingest-ended' && event.outcome === 'stored').length;
    await expect.poll(stored, waiting).toBe(image.blobs.length);
    return cache;
  }

  const get = async (cache: ProxyCache, path: string, headers = {}, method = 'GET') => {
    const response = await cache.fetch(
      new Request(`http://cache/v2/up/team/app/${path}`, { headers, method, redirect: 'manual' }),
    );
    return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
  };
  const largest = () => [...image.blobs].sort((a, b) => b.size - a.size)[0]!.digest;
  const smallest = () => [...image.blobs].sort((a, b) => a.size - b.size)[0]!.digest;

  test('a large blob is had at the URL, whole and by range, without asking the cache', async () => {
    const cache = await startFilled();
    const digest = largest();
    const { status, headers, bytes } = await get(cache, `blobs/${digest}`);
    expect([status, bytes.byteLength]).toEqual([307, 0]);
    expect(headers.get('docker-content-digest')).toBe(digest);
    expect(headers.get('cache-control')).toBe('no-store, no-transform');
    const location = headers.get('location')!;
    expect(location).toContain('X-Amz-Expires=600');
    const whole = Buffer.from(await (await fetch(location)).arrayBuffer());
    expect(digestOf(whole)).toBe(digest);

    const ranged = await get(cache, `blobs/${digest}`, { range: 'bytes=10-99' });
    expect(ranged.status).toBe(307);
    const part = await fetch(ranged.headers.get('location')!, { headers: { range: 'bytes=10-99' } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(whole.subarray(10, 100))).toBe(true);
  });

  test('no URL is given to a repository that does not hold the blob', async () => {
    const cache = await startFilled();
    upstream.addImage('team/other', { tag: '1', layerSizes: [2_000] });
    const url = `http://cache/v2/up/team/other/blobs/${largest()}`;
    for (const headers of [{}, { range: 'bytes=0-9' }]) {
      const response = await cache.fetch(new Request(url, { headers, redirect: 'manual' }));
      expect([response.status, response.headers.get('location')]).toEqual([404, null]);
    }
  });

  test('HEAD, what the client has, several ranges and none, and small blobs are answered by the cache', async () => {
    const cache = await startFilled();
    const digest = largest();
    const head = await get(cache, `blobs/${digest}`, {}, 'HEAD');
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '300000']);
    expect((await get(cache, `blobs/${digest}`, { 'if-none-match': `"${digest}"` })).status).toBe(304);
    const several = await get(cache, `blobs/${digest}`, { range: 'bytes=0-9,100-109' });
    expect(several.status).toBe(206);
    expect((await get(cache, `blobs/${digest}`, { range: 'bytes=300000-' })).status).toBe(416);
    const small = await get(cache, `blobs/${smallest()}`);
    expect([small.status, digestOf(small.bytes)]).toEqual([200, smallest()]);
    expect((await get(cache, 'manifests/1')).status).toBe(200);
  });

  test('no event and no log line has the URL', async () => {
    const cache = await startFilled();
    const digest = largest();
    expect((await get(cache, `blobs/${digest}`)).status).toBe(307);
    expect(events).toContainEqual(expect.objectContaining({ type: 'request', status: 307, reference: digest }));
    expect(inspect(events, { depth: 20 })).not.toMatch(/X-Amz|Signature|127\.0\.0\.1.*blobs\//);
  });

  test('a cache that is to verify what it reads sends nobody away', async () => {
    const cache = await startFilled({}, { verifyOnRead: 'first' });
    const { status, bytes } = await get(cache, `blobs/${largest()}`);
    expect([status, digestOf(bytes)]).toEqual([200, largest()]);
  });

  test('a URL that cannot be signed costs no pull, and an event says so', async () => {
    const client = new S3Client({
      ...server.config,
      credentials: () => Promise.reject(new Error('no credentials')),
    });
    const cache = await startFilled({ redirectReads: { client } });
    const { status, bytes } = await get(cache, `blobs/${largest()}`);
    expect([status, digestOf(bytes)]).toEqual([200, largest()]);
    const told = { type: 'store-failed', operation: 'locate', error: expect.stringContaining('no credentials') };
    expect(events).toContainEqual(expect.objectContaining(told));
    client.destroy();
  });

  test('URLs are signed for where clients reach S3, and for as long as is said', async () => {
    const client = new S3Client({ ...server.config, endpoint: server.endpoint });
    const cache = await startFilled({ redirectReads: { client, validFor: '1m' } });
    const { headers } = await get(cache, `blobs/${largest()}`);
    expect(headers.get('location')?.startsWith(server.endpoint)).toBe(true);
    expect(headers.get('location')).toContain('X-Amz-Expires=60');
    expect((await fetch(headers.get('location')!)).status).toBe(200);
    client.destroy();
  });

  test('what is opened to send clients away is read as well: large, small, empty and missing blobs', async () => {
    const store = open();
    for (const size of [0, 1, 65_536, 65_537, 2_000_000]) {
      const bytes = randomBytes(size);
      const digest = digestOf(bytes);
      expect(await store.open(digest, { signal })).toBeUndefined();
      await store.put({ digest, bytes, signal });
      const blob = await store.open(digest, { signal });
      expect(blob).toMatchObject({ kind: 'stream', size });
      expect(blob && 'elsewhere' in blob, `${size}`).toBe(size > 65_536);
      await blob?.close();
      const faults = [{ kind: 'cut', after: 40_000 } as const];
      proxy.faultOf = ({ headers }) => (headers['range'] === `bytes=0-${size - 1}` ? faults.shift() : undefined);
      expect((await readAll(store, digest))?.equals(bytes)).toBe(true);
      if (size > 1)
        expect((await readAll(store, digest, { from: 1, to: size - 1 }))?.equals(bytes.subarray(1))).toBe(true);
    }
    expect(await proxy.connections()).toBeLessThanOrEqual(3);
    await store.close();
  });

  test.skipIf(skopeo === undefined)('skopeo follows', async () => {
    const cache = await startFilled();
    const handle = createNodeHandler(cache);
    const front = await startLoopbackServer((request, response) => void handle(request, response));
    proxy.requests.length = 0;
    const to = `dir:${makeTemporaryFolder('skopeo')}`;
    const from = `docker://127.0.0.1:${front.port}/up/team/app:1`;
    await runOk({ program: skopeo!, args: ['copy', '--src-tls-verify=false', '--insecure-policy', from, to] });
    removeFolder(to.slice('dir:'.length));
    await front.stop();
    expect(proxy.requests.filter(({ path }) => path.includes('X-Amz-Signature'))).toHaveLength(1);
  });
});
