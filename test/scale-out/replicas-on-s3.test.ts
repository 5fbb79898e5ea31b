import { join } from 'node:path';
import { digestOf, type StoredBlob } from '@proxycache/core';
import { type S3BlobsOptions, s3Blobs } from '@proxycache/s3';
import { type FakeUpstream, seededBytes, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { type RedisServer, startRedisServer } from '../redis/redis-server.ts';
import { type S3Server, s3Programs, startS3Server } from '../s3/s3-server.ts';
import { requireProgram } from '../system.ts';
import { pullBlob, type Replica, startReplica } from './replicas.ts';

const program = requireProgram('redis-server');
const waiting = { timeout: 60_000, interval: 10 };
const MiB = 1024 * 1024;
const sizeMiB = Number(process.env['SCALE_OUT_MIB'] ?? 4);
const count = 4;
const clients = 200;

// A Redis and an S3, and no disk that two of them have.
const isSkipped = program === undefined || !s3Programs().includes('versitygw');
describe.skipIf(isSkipped)('four processes as on hosts of their own, with one Redis and one S3', () => {
  let redis: RedisServer;
  let s3: S3Server;
  let upstream: FakeUpstream;
  let folder: string;
  let blobs: S3BlobsOptions;
  const replicas: Replica[] = [];

  beforeAll(async () => {
    folder = makeTemporaryFolder('replicas-on-s3');
    [redis, s3, upstream] = await Promise.all([
      startRedisServer(program!),
      startS3Server('versitygw'),
      startFakeUpstream(),
    ]);
    blobs = { bucket: s3.bucket, options: s3.config };
    replicas.push(...(await Promise.all(Array.from({ length: count }, (_, index) => start(index)))));
  }, 60_000);
  afterAll(async () => {
    await Promise.all(replicas.map((replica) => replica.kill()));
    await Promise.all([upstream?.stop(), s3?.close(), redis?.close()]);
    removeFolder(folder);
  });

  const start = (index: number): Promise<Replica> =>
    startReplica({
      upstream: upstream.url,
      redis: redis.url,
      s3: blobs,
      alone: { spoolDirectory: join(folder, `spool-${index}`), secret: 'what all the processes of this test know' },
    });

  async function inS3(): Promise<StoredBlob[]> {
    const store = s3Blobs(blobs);
    try {
      const found: StoredBlob[] = [];
      for await (const blob of store.digests({ signal: new AbortController().signal })) found.push(blob);
      return found;
    } finally {
      await store.close();
    }
  }

  test(`cost an upstream one transfer of a cold blob that ${clients} clients want, which is in S3 then for all`, {
    timeout: 300_000,
  }, async () => {
    const bytes = seededBytes('cold in S3', sizeMiB * MiB);
    const digest = digestOf(bytes);
    const path = `/v2/up/team/app/blobs/${digest}`;
    upstream.putBlob('team/app', bytes);
    // Who comes when it is stored already may ask by a HEAD whether the repository holds it.
    const asked = () =>
      upstream.requests
        .filter(({ method }) => method === 'GET')
        .map(({ method, headers }) => [method, headers['range']]);

    const since = performance.now();
    const pulls = Array.from({ length: clients }, (_, index) => pullBlob([replicas[index % count]!], path, bytes));
    const pulled = await Promise.all(pulls);
    const seconds = (performance.now() - since) / 1000;
    expect(pulled.filter(({ isRight, tries }) => isRight && tries === 1)).toHaveLength(clients);
    expect(asked()).toEqual([['GET', undefined]]);
    expect(upstream.sentBytes()).toBe(bytes.byteLength);

    await expect
      .poll(() => replicas.map((replica) => replica.outcomes()), waiting)
      .toEqual(Array(count).fill(['stored']));
    const storedAfter = (performance.now() - since) / 1000;
    const roles = replicas.flatMap((replica) => replica.roles());
    expect(await inS3()).toEqual([expect.objectContaining({ digest, size: bytes.byteLength })]);

    // One that was not there, and the others once more: nobody asks the upstream.
    replicas.push(await start(count));
    const again = await Promise.all(replicas.map((replica) => pullBlob([replica], path, bytes)));
    expect(again.filter(({ isRight, tries }) => isRight && tries === 1)).toHaveLength(count + 1);
    expect(asked()).toHaveLength(1);

    const figures = {
      ...{ replicas: count, clients, sizeMiB, upstreamRequests: asked(), upstreamBytes: upstream.sentBytes() },
      seconds: Number(seconds.toFixed(2)),
      sentMiBPerSecond: Math.round((clients * sizeMiB) / seconds),
      longestWaitMs: Math.round(Math.max(...pulled.map(({ longestWaitMs }) => longestWaitMs))),
      storedAfterSeconds: Number(storedAfter.toFixed(2)),
      roles,
    };
    console.log('one transfer for all', JSON.stringify(figures));
  });
});
