import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { GetObjectCommand, ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3';
import { type Digest, digestOf } from '@proxycache/core';
import { type S3Blobs, type S3BlobsOptions, type S3Event, s3Blobs } from '@proxycache/s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { type FaultProxy, type S3Fault, type SeenRequest, startFaultProxy } from './fault-proxy.ts';
import { readAll } from './read-all.ts';
import { type S3Server, s3Programs, startS3Server } from './s3-server.ts';

const mebibyte = 1024 * 1024;
const { signal } = new AbortController();
const isPart = ({ method, path }: SeenRequest) => method === 'PUT' && path.includes('partNumber=');
const partOf = ({ path }: SeenRequest) => Number(/partNumber=(\d+)/.exec(path)?.[1]);

// s3rver takes whatever comes, and lists no uploads.
const hasGateway = s3Programs().includes('versitygw');

describe.skipIf(!hasGateway)('uploads to S3, by versitygw', () => {
  let server: S3Server;
  let proxy: FaultProxy;
  let client: S3Client;
  let folder: string;
  let store: S3Blobs;
  let events: S3Event[];
  let stores = 0;
  let files = 0;

  beforeAll(async () => {
    server = await startS3Server('versitygw');
    proxy = await startFaultProxy(server);
    client = new S3Client(server.config);
    folder = makeTemporaryFolder('uploads');
  });
  beforeEach(() => {
    store = open();
  });
  afterEach(async () => {
    proxy.faultOf = () => undefined;
    await store.close();
  });
  afterAll(async () => {
    client?.destroy();
    await proxy?.close();
    await server?.close();
    removeFolder(folder);
  });

  function open(more: Partial<S3BlobsOptions> = {}): S3Blobs {
    events = [];
    proxy.requests.length = 0;
    return s3Blobs({
      ...{ bucket: server.bucket, options: { ...server.config, endpoint: proxy.endpoint, maxAttempts: 1 } },
      ...{ prefix: `uploads-${stores++}/`, answerWithin: '20s', idleWithin: '20s', partSize: 5 * mebibyte },
      observer: (event) => events.push(event),
      ...more,
    });
  }

  async function spooled(size: number): Promise<{ file: string; digest: Digest; size: number; bytes: Buffer }> {
    const bytes = randomBytes(size);
    const file = join(folder, `file-${files++}`);
    await writeFile(file, bytes);
    return { file, digest: digestOf(bytes), size, bytes };
  }

  async function unfinished(): Promise<number> {
    const prefix = `uploads-${stores - 1}/`;
    const found = await client.send(new ListMultipartUploadsCommand({ Bucket: server.bucket, Prefix: prefix }));
    return (found.Uploads ?? []).filter(({ Key }) => Key?.startsWith(prefix)).length;
  }

  test('a large blob goes up in parts that are checked, and comes back byte for byte', async () => {
    const { bytes, ...blob } = await spooled(13 * mebibyte + 1);
    await store.adopt({ ...blob, signal });
    expect(existsSync(blob.file)).toBe(false);
    const sent = proxy.requests.filter(isPart);
    expect(sent.map(partOf).sort()).toEqual([1, 2, 3]);
    for (const { headers } of sent) expect(headers).toMatchObject({ 'x-amz-checksum-crc32': expect.any(String) });
    // None is signed as chunks, which takes more than a plain server knows.
    for (const { headers } of sent) expect(headers).not.toHaveProperty('x-amz-trailer');
    expect((await readAll(store, blob.digest))?.equals(bytes)).toBe(true);
    expect(await unfinished()).toBe(0);
    expect(events).toEqual([]);
  });

  test('no more parts go up at a time than may', async () => {
    store = open({ parallelParts: 2 });
    const { bytes, ...blob } = await spooled(26 * mebibyte);
    let most = 0;
    const waiting = setInterval(async () => {
      most = Math.max(most, await proxy.connections());
    }, 1);
    await store.adopt({ ...blob, signal });
    clearInterval(waiting);
    expect(most).toBeLessThanOrEqual(2);
    expect((await readAll(store, blob.digest))?.equals(bytes)).toBe(true);
  });

  test.each(['small', 'large'] as const)(
    'a %s blob is sent again from its file while S3 is busy or breaks off',
    async (size) => {
      const { bytes, ...blob } = await spooled(size === 'small' ? mebibyte : 12 * mebibyte);
      const faults = [
        { kind: 'answer', status: 503, code: 'SlowDown' } as const,
        { kind: 'reset' } as const,
        { kind: 'lost-answer' } as const,
      ];
      proxy.faultOf = (request) => (request.method === 'PUT' ? faults.shift() : undefined);
      await store.adopt({ ...blob, signal });
      expect(faults).toEqual([]);
      const { digest } = blob;
      expect(events).toHaveLength(3);
      for (const event of events)
        expect(event).toMatchObject({ type: 's3-upload-retried', digest, attempt: expect.any(Number) });
      expect(inspect(events, { depth: 5 })).toMatch(/503 SlowDown.*asked too often/);
      expect((await readAll(store, digest))?.equals(bytes)).toBe(true);
      expect(existsSync(blob.file)).toBe(false);
    },
  );

  test.each(['small', 'large'] as const)('a %s blob that S3 got other bytes of is sent again', async (size) => {
    for (const how of ['crc32', 'md5'] as const) {
      const requestChecksumCalculation = how === 'md5' ? ('WHEN_REQUIRED' as const) : ('WHEN_SUPPORTED' as const);
      store = open({
        options: { ...server.config, endpoint: proxy.endpoint, maxAttempts: 1, requestChecksumCalculation },
      });
      const { bytes, ...blob } = await spooled(size === 'small' ? mebibyte : 12 * mebibyte);
      let left = 1;
      proxy.faultOf = ({ method }) => (method === 'PUT' && left-- > 0 ? { kind: 'other-byte' } : undefined);
      await store.adopt({ ...blob, signal });
      expect(events.map((event) => event.error.message).join()).toMatch(/BadDigest|Mismatch|Digest/);
      expect((await readAll(store, blob.digest))?.equals(bytes)).toBe(true);
    }
  });

  test('a file that is not what its digest says any more is not stored', async () => {
    const { bytes, ...blob } = await spooled(mebibyte);
    bytes[5] = (bytes[5] ?? 0) ^ 1;
    await writeFile(blob.file, bytes);
    await expect(store.adopt({ ...blob, signal })).rejects.toThrow(/BadDigest.*the file changed/);
    expect(existsSync(blob.file)).toBe(true);
    expect(await readAll(store, blob.digest)).toBeUndefined();
  });

  test.each([
    ['begins', 'uploads'],
    ['ends', 'uploadId'],
  ])('what %s an upload in parts is tried again while S3 is busy or breaks off', async (_, query) => {
    const { bytes, ...blob } = await spooled(12 * mebibyte);
    const faults = [
      { kind: 'answer', status: 503, code: 'SlowDown' } as const,
      { kind: 'reset' } as const,
      { kind: 'answer', status: 500, code: 'InternalError' } as const,
    ];
    proxy.faultOf = ({ method, path }) =>
      method === 'POST' && new URLSearchParams(path.split('?')[1]).has(query) ? faults.shift() : undefined;
    await store.adopt({ ...blob, signal });
    expect(faults).toEqual([]);
    expect(proxy.requests.filter(isPart)).toHaveLength(3);
    const { digest } = blob;
    expect(events.map(({ type }) => type)).toEqual(Array(3).fill('s3-upload-retried'));
    for (const event of events) expect(event).not.toHaveProperty('part');
    expect((await readAll(store, digest))?.equals(bytes)).toBe(true);
    expect(await unfinished()).toBe(0);
  });

  test.each([
    ['is stored where the object is there', true],
    ['fails where it is not', false],
  ])('an upload that S3 knows no more when it is to end %s', async (_, isThere) => {
    const { bytes, ...blob } = await spooled(12 * mebibyte);
    const unknown = { kind: 'answer', status: 404, code: 'NoSuchUpload' } as const;
    const faults: S3Fault[] = isThere ? [{ kind: 'lost-answer' }, unknown] : [unknown];
    proxy.faultOf = ({ method, path }) =>
      method === 'POST' && path.includes('uploadId=') ? faults.shift() : undefined;
    const outcome = store.adopt({ ...blob, signal });
    if (isThere) await outcome;
    else await expect(outcome).rejects.toThrow(/refused CompleteMultipartUpload .*NoSuchUpload/);
    expect(faults).toEqual([]);
    expect(existsSync(blob.file)).toBe(!isThere);
    expect((await readAll(store, blob.digest))?.equals(bytes)).toBe(isThere || undefined);
    expect(await unfinished()).toBe(0);
  });

  test('what S3 refuses for good leaves no parts behind, and the file', async () => {
    const { bytes, ...blob } = await spooled(12 * mebibyte);
    proxy.faultOf = (request) =>
      partOf(request) === 2 ? { kind: 'answer', status: 403, code: 'AccessDenied' } : undefined;
    const failure = store.adopt({ ...blob, signal });
    await expect(failure).rejects.toThrow(/refused UploadPart .* 403 AccessDenied.*the documentation of stores lists/);
    expect(existsSync(blob.file)).toBe(true);
    expect(await unfinished()).toBe(0);
    expect(await readAll(store, blob.digest)).toBeUndefined();
    proxy.faultOf = () => undefined;
    await store.adopt({ ...blob, signal });
    expect((await readAll(store, blob.digest))?.equals(bytes)).toBe(true);
  });

  test('an upload whose caller leaves ends at once, and leaves no parts behind', async () => {
    const { file, digest, size } = await spooled(12 * mebibyte);
    const controller = new AbortController();
    const left = new Error('left');
    proxy.faultOf = (request) => {
      if (partOf(request) !== 2) return undefined;
      controller.abort(left);
      return { kind: 'silence' };
    };
    await expect(store.adopt({ file, digest, size, signal: controller.signal })).rejects.toBe(left);
    expect(existsSync(file)).toBe(true);
    expect(await unfinished()).toBe(0);
  });

  test('a part that arrives once its upload was given up does not stay', async () => {
    const { file, digest, size } = await spooled(12 * mebibyte);
    let removals = 0;
    proxy.faultOf = (request) => {
      if (partOf(request) === 2) return { kind: 'answer', status: 403, code: 'AccessDenied' };
      // As if nothing had been there yet to remove.
      if (request.method === 'DELETE' && ++removals === 1) return { kind: 'answer', status: 204, code: '' };
      return undefined;
    };
    await expect(store.adopt({ file, digest, size, signal })).rejects.toThrow(/refused UploadPart/);
    expect(removals).toBeGreaterThan(1);
    expect(await unfinished()).toBe(0);
    expect(events.filter(({ type }) => type === 's3-upload-left')).toEqual([]);
  });

  test('an upload that stands still is given up, and its parts are told of and can be removed', async () => {
    store = open({ idleWithin: 100 });
    const { file, digest, size } = await spooled(12 * mebibyte);
    proxy.faultOf = (request) => {
      if (isPart(request)) return { kind: 'silence' };
      return request.method === 'DELETE' ? { kind: 'answer', status: 503, code: 'SlowDown' } : undefined;
    };
    await expect(store.adopt({ file, digest, size, signal })).rejects.toThrow(
      /did not answer UploadPart .* within 1600 ms/,
    );
    expect(events.at(-1)).toMatchObject({ type: 's3-upload-left', digest, uploadId: expect.any(String) });
    expect(existsSync(file)).toBe(true);
    proxy.faultOf = () => undefined;
    // They are shown to nobody.
    expect(await readAll(store, digest)).toBeUndefined();
    store = open({ prefix: `uploads-${stores - 1}/` });
    stores--;
    expect(await unfinished()).toBe(1);
    expect(await store.abortUnfinished({ signal })).toBe(0);
    expect(await store.abortUnfinished({ olderThan: 0, signal })).toBe(1);
    expect(await unfinished()).toBe(0);
  });

  test('an upload whose last bytes are long under way gets more time with each attempt', async () => {
    store = open({ idleWithin: 200 });
    const { file, digest, size, bytes } = await spooled(mebibyte);
    // What stands between takes all of it at once, and S3 says only later that it has it.
    proxy.faultOf = ({ method }) => (method === 'PUT' ? { kind: 'late', ms: 1_000 } : undefined);
    await store.adopt({ file, digest, size, signal });
    expect(events.map(({ type }) => type)).toContain('s3-upload-retried');
    expect((await readAll(store, digest))?.equals(bytes)).toBe(true);
  });

  test('bytes at hand are sent again when another did something to the object at that moment', async () => {
    const answers = [{ kind: 'answer', status: 409, code: 'OperationAborted' } as const];
    proxy.faultOf = ({ method }) => (method === 'PUT' ? answers.shift() : undefined);
    const bytes = Buffer.from('at hand');
    await store.put({ digest: digestOf(bytes), bytes, signal });
    expect(await readAll(store, digestOf(bytes))).toEqual(bytes);
    expect(events).toMatchObject([{ type: 's3-upload-retried', attempt: 1 }]);
  });

  test('what is said of objects is said of each', async () => {
    store = open({ upload: { StorageClass: 'STANDARD_IA' } });
    for (const size of [1_000, 12 * mebibyte]) {
      const { bytes: _, ...blob } = await spooled(size);
      await store.adopt({ ...blob, signal });
    }
    await store.put({ digest: digestOf(Buffer.from('x')), bytes: Buffer.from('x'), signal });
    const said = proxy.requests.filter(({ headers }) => headers['x-amz-storage-class'] === 'STANDARD_IA');
    expect(said.map(({ method }) => method)).toEqual(['PUT', 'POST', 'PUT']);
  });

  test('a client of the host is not closed with the store', async () => {
    const own = s3Blobs({ client, bucket: server.bucket, prefix: 'own-client/' });
    const { bytes, ...blob } = await spooled(mebibyte);
    await own.adopt({ ...blob, signal });
    expect((await readAll(own, blob.digest))?.equals(bytes)).toBe(true);
    await own.close();
    await expect(own.open(blob.digest, { signal })).rejects.toMatchObject({ code: 'closed' });
    const Key = `own-client/blobs/${blob.digest.replace(':', '/')}`;
    const { Body } = await client.send(new GetObjectCommand({ Bucket: server.bucket, Key }));
    expect(Buffer.from((await Body?.transformToByteArray()) ?? []).equals(bytes)).toBe(true);
  });
});
