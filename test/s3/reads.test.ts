import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { createProxyCache, digestOf, memoryStorage } from '@proxycache/core';
import { type S3Blobs, type S3BlobsOptions, type S3Event, s3Blobs } from '@proxycache/s3';
import { startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { type FaultProxy, type S3Fault, startFaultProxy } from './fault-proxy.ts';
import { readAll } from './read-all.ts';
import { type S3Server, startS3Server } from './s3-server.ts';

const { signal } = new AbortController();
setMaxListeners(0, signal);
const waiting = { timeout: 15_000, interval: 20 };

describe('reads from S3', () => {
  let server: S3Server;
  let proxy: FaultProxy;
  let store: S3Blobs;
  let events: S3Event[];
  const bytes = randomBytes(3_000_000);
  const digest = digestOf(bytes);

  beforeAll(async () => {
    server = await startS3Server();
    proxy = await startFaultProxy(server);
    const filling = open();
    await filling.put({ digest, bytes, signal });
    await filling.close();
  });
  beforeEach(() => {
    store = open();
  });
  afterEach(async () => {
    proxy.faultOf = () => undefined;
    await store.close();
  });
  afterAll(async () => {
    await proxy?.close();
    await server?.close();
  });

  function open(more: Partial<S3BlobsOptions> = {}): S3Blobs {
    events = [];
    proxy.requests.length = 0;
    return s3Blobs({
      ...{ bucket: server.bucket, options: { ...server.config, endpoint: proxy.endpoint }, answerWithin: '20s' },
      observer: (event) => events.push(event),
      ...more,
    });
  }

  /** These befall requests for blobs, one each. */
  function playing(...faults: S3Fault[]): void {
    proxy.faultOf = ({ method }) => (method === 'GET' ? faults.shift() : undefined);
  }

  test.each(['cut', 'stall'] as const)('a body with a %s goes on where it was, on another connection', async (kind) => {
    if (kind === 'stall') store = open({ answerWithin: '1s' });
    playing({ kind, after: 1_000_000 }, { kind, after: 500_000 });
    expect((await readAll(store, digest))?.equals(bytes)).toBe(true);
    const [first, second, third] = proxy.requests;
    expect(first?.headers['range']).toBeUndefined();
    expect(second?.headers).toMatchObject({ range: 'bytes=1000000-2999999', 'if-match': expect.any(String) });
    expect(third?.headers).toMatchObject({ range: 'bytes=1500000-2999999' });
    expect(events).toMatchObject([
      { type: 's3-read-resumed', digest, position: 1_000_000 },
      { type: 's3-read-resumed', digest, position: 1_500_000 },
    ]);
  });

  test('a range goes on where it was', async () => {
    playing({ kind: 'cut', after: 100 });
    const part = await readAll(store, digest, { from: 1_000, to: 999_999 });
    expect(part?.equals(bytes.subarray(1_000, 1_000_000))).toBe(true);
    expect(proxy.requests[1]?.headers['range']).toBe('bytes=1100-999999');
  });

  test('a body that breaks off twice at one place is given up', async () => {
    playing({ kind: 'cut', after: 1_000 }, { kind: 'cut', after: 0 });
    await expect(readAll(store, digest)).rejects.toThrow(/gave sha256:\w+ only up to byte 1000: /);
    expect(proxy.requests).toHaveLength(2);
  });

  test('a body never goes on with the bytes of another object', async () => {
    const rotten = Buffer.from(bytes).fill(0, 2_000_000);
    const store = open({ prefix: 'replaced/' });
    await store.put({ digest, bytes: rotten, signal });
    playing({ kind: 'cut', after: 1_000_000 });
    const blob = await store.open(digest, { signal });
    if (blob?.kind !== 'stream') return expect.unreachable();
    const body = blob.body[Symbol.asyncIterator]();
    await body.next();
    await store.put({ digest, bytes, signal });
    const rest = async () => {
      while (!(await body.next()).done);
    };
    await expect(rest()).rejects.toMatchObject({ code: 'storage-failed' });
    await blob.close();
    await store.close();
  });

  test('a miss is told by S3 alone: whatever else fails is a failure', async () => {
    const other = digestOf(Buffer.from('not stored'));
    expect(await store.open(other, { signal })).toBeUndefined();
    playing({ kind: 'answer', status: 404, code: 'SomethingElse' });
    await expect(store.open(other, { signal })).rejects.toThrow(/404 SomethingElse/);
    playing({ kind: 'answer', status: 403, code: 'AccessDenied' });
    await expect(store.open(other, { signal })).rejects.toThrow(/403 AccessDenied.*without s3:ListBucket/);
    const missing = open({ bucket: 'no-such-bucket' });
    const failed = { code: 'storage-failed', message: expect.stringContaining('make the bucket') };
    await expect(missing.open(other, { signal })).rejects.toMatchObject(failed);
    await expect(missing.delete(other, { signal })).rejects.toMatchObject({ code: 'storage-failed' });
    await expect(missing.quarantine(other, { signal })).rejects.toMatchObject({ code: 'storage-failed' });
    await expect(missing.put({ digest: other, bytes: Buffer.from('x'), signal })).rejects.toMatchObject(failed);
    await expect(missing.digests({ signal })[Symbol.asyncIterator]().next()).rejects.toMatchObject(failed);
    await missing.close();
  });

  test('what is closed half-way leaves no connection behind; what is read to the end leaves it to the next one', async () => {
    const blob = await store.open(digest, { signal });
    if (blob?.kind !== 'stream') return expect.unreachable();
    for await (const _ of blob.body) break;
    await blob.close();
    const unread = await store.open(digest, { signal });
    await unread?.close();
    await expect.poll(() => proxy.connections(), waiting).toBe(0);
    for (let time = 0; time < 3; time++) await readAll(store, digest);
    expect(await proxy.connections()).toBe(1);
  });

  test('what is only looked at is two bytes, and leaves its connection to the next one', async () => {
    for (const of of [bytes, Buffer.from('x'), Buffer.alloc(0)]) {
      const looked = digestOf(of);
      await store.put({ digest: looked, bytes: of, signal });
      proxy.requests.length = 0;
      for (let time = 0; time < 3; time++) {
        const blob = await store.open(looked, { forBytes: false, signal });
        expect(blob?.size).toBe(of.byteLength);
        await blob?.close();
      }
      const asked = proxy.requests.map(({ method, headers }) => `${method} ${headers['range']}`);
      // RFC 9110 14.1.2: of nothing no range is satisfied.
      const once = of.byteLength > 0 ? ['GET bytes=0-1'] : ['GET bytes=0-1', 'GET undefined'];
      expect(asked).toEqual([...once, ...once, ...once]);
      // A refusal may still be on its way when the next request goes out.
      expect(await proxy.connections()).toBeLessThanOrEqual(of.byteLength > 0 ? 1 : 2);
    }
    expect(await store.open(digestOf(Buffer.from('not stored')), { forBytes: false, signal })).toBeUndefined();
  });

  test('a HEAD and a part of a stored blob begin no body of S3 that nobody reads', async () => {
    const upstream = await startFakeUpstream();
    const folder = makeTemporaryFolder('s3-reads');
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3_000_000] });
    const path = `team/app/blobs/${image.layers[0]?.digest}`;
    const { metadata } = memoryStorage();
    const upstreams = [{ key: 'up', url: upstream.url, freshFor: '1h' as const }];
    const cache = createProxyCache({ upstreams, storage: { blobs: store, metadata, spoolDirectory: folder } });
    const ask = async (method: string, headers = {}) => {
      const response = await cache.fetch(new Request(`http://cache/v2/up/${path}`, { method, headers }));
      return { response, body: Buffer.from(await response.arrayBuffer()) };
    };
    try {
      const whole = (await ask('GET')).body;
      await expect
        .poll(async () => (await readAll(store, image.layers[0]!.digest))?.byteLength, waiting)
        .toBe(3_000_000);
      await expect.poll(async () => (await ask('HEAD')).response.headers.get('cache-status'), waiting).toContain('hit');
      const askedOfS3 = async (work: () => Promise<unknown>) => {
        proxy.requests.length = 0;
        await work();
        return proxy.requests.map(({ method, headers }) => `${method} ${headers['range']}`);
      };
      const before = await proxy.connections();
      expect(
        await askedOfS3(async () => {
          const { response } = await ask('HEAD');
          expect([response.status, response.headers.get('content-length')]).toEqual([200, '3000000']);
        }),
      ).toEqual(['GET bytes=0-1']);
      expect(
        await askedOfS3(async () => {
          const { response, body } = await ask('GET', { range: 'bytes=-100' });
          expect([response.status, body.equals(whole.subarray(-100))]).toEqual([206, true]);
        }),
      ).toEqual(['GET bytes=0-1', 'GET bytes=2999900-2999999']);
      expect(await askedOfS3(() => ask('GET'))).toEqual(['GET undefined']);
      expect(await proxy.connections()).toBe(before);
      expect(upstream.requests.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'))).toHaveLength(
        1,
      );
    } finally {
      await cache.close();
      await upstream.stop();
      removeFolder(folder);
    }
  });

  test('a reader that is slow, or that waits, holds nothing up', async () => {
    const blobs = await Promise.all(Array.from({ length: 80 }, () => store.open(digest, { signal })));
    expect((await readAll(store, digest))?.equals(bytes)).toBe(true);
    await Promise.all(blobs.map((blob) => blob?.close()));
  });

  test('many slow readers keep nobody from S3, and it is not taken for silent', async () => {
    store = open({ answerWithin: '60s' });
    const blobs = await Promise.all(Array.from({ length: 300 }, () => store.open(digest, { signal })));
    expect((await readAll(store, digest))?.equals(bytes)).toBe(true);
    await Promise.all(blobs.map((blob) => blob?.close()));
  });

  test('who leaves while S3 says nothing leaves at once', async () => {
    const controller = new AbortController();
    const left = new Error('left');
    proxy.faultOf = () => {
      setImmediate(() => controller.abort(left));
      return { kind: 'silence' };
    };
    await expect(store.open(digest, { signal: controller.signal })).rejects.toBe(left);
  });

  test('a body that is closed while it is waited for fails, and does not end', async () => {
    playing({ kind: 'stall', after: 0 });
    const blob = await store.open(digest, { signal });
    if (blob?.kind !== 'stream') return expect.unreachable();
    const waits = blob.body[Symbol.asyncIterator]().next();
    await blob.close();
    await expect(waits).rejects.toMatchObject({ code: 'storage-failed' });
  });

  test('a client that checks what it reads may be given', async () => {
    const { S3Client } = await import('@aws-sdk/client-s3');
    const client = new S3Client({
      ...server.config,
      endpoint: proxy.endpoint,
      responseChecksumValidation: 'WHEN_SUPPORTED',
    });
    const checking = s3Blobs({ client, bucket: server.bucket, answerWithin: '20s' });
    const filled = randomBytes(1_000_000);
    await checking.put({ digest: digestOf(filled), bytes: filled, signal });
    playing({ kind: 'cut', after: 400_000 });
    expect((await readAll(checking, digestOf(filled)))?.equals(filled)).toBe(true);
    const unread = await checking.open(digestOf(filled), { signal });
    await unread?.close();
    client.destroy();
  });
});
