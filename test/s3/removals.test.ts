import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { digestOf, systemClock } from '@proxycache/core';
import { type S3Blobs, s3Blobs } from '@proxycache/s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { readAll } from './read-all.ts';
import { type S3Server, startS3Server } from './s3-server.ts';

const { signal } = new AbortController();
const dayMs = 86_400_000;
const bytes = Buffer.from('what is removed');
const digest = digestOf(bytes);

describe('what is removed from S3', () => {
  let server: S3Server;
  let proxy: FaultProxy;
  let client: S3Client;
  let store: S3Blobs;
  let prefix: string;
  let nowMs: number;
  let stores = 0;

  beforeAll(async () => {
    server = await startS3Server();
    proxy = await startFaultProxy(server);
    client = new S3Client(server.config);
  });
  beforeEach(async () => {
    nowMs = Date.UTC(2026, 0, 1);
    prefix = `removals-${stores++}/`;
    store = s3Blobs({
      ...{ bucket: server.bucket, prefix, options: { ...server.config, endpoint: proxy.endpoint } },
      ...{ answerWithin: '20s', clock: { ...systemClock, now: () => nowMs } },
    });
    await store.put({ digest, bytes, signal });
  });
  afterEach(async () => {
    proxy.faultOf = () => undefined;
    await store.close();
  });
  afterAll(async () => {
    client?.destroy();
    await proxy?.close();
    await server?.close();
  });

  async function quarantined(): Promise<number[]> {
    const found = await client.send(
      new ListObjectsV2Command({ Bucket: server.bucket, Prefix: `${prefix}quarantine/` }),
    );
    return (found.Contents ?? []).map(({ Key }) => Number(Key?.split('.').at(-1))).sort((a, b) => a - b);
  }

  async function quarantineAgain(): Promise<void> {
    await store.put({ digest, bytes, signal });
    expect(await store.quarantine(digest, { signal })).toBe(true);
  }

  test('the newest hundred of a week stay in quarantine', { timeout: 120_000 }, async () => {
    const first = nowMs;
    for (let count = 0; count < 101; count++) {
      nowMs++;
      await quarantineAgain();
    }
    const kept = await quarantined();
    expect([kept.length, kept.at(0), kept.at(-1)]).toEqual([100, first + 2, first + 101]);
    nowMs += 7 * dayMs - 1;
    await quarantineAgain();
    expect(await quarantined()).toEqual([first + 100, first + 101, nowMs]);
  });

  test('what cannot be trimmed stays, and the wrong blob is taken all the same', async () => {
    proxy.faultOf = ({ method, path }) =>
      method === 'GET' && path.includes('list-type')
        ? { kind: 'answer', status: 403, code: 'AccessDenied' }
        : undefined;
    expect(await store.quarantine(digest, { signal })).toBe(true);
    expect(await store.open(digest, { signal })).toBeUndefined();
    expect(await quarantined()).toEqual([nowMs]);
  });

  test('what cannot be copied stays where it is', async () => {
    proxy.faultOf = ({ headers }) =>
      headers['x-amz-copy-source'] === undefined ? undefined : { kind: 'answer', status: 403, code: 'AccessDenied' };
    await expect(store.quarantine(digest, { signal })).rejects.toThrow(/refused CopyObject .*403 AccessDenied/);
    expect(await readAll(store, digest)).toEqual(bytes);
  });

  test.each(['delete', 'quarantine'] as const)('a %s spares what another stored in between', async (how) => {
    const answers = [{ kind: 'answer', status: 412, code: 'PreconditionFailed' } as const];
    proxy.faultOf = ({ method, headers }) => (method === 'DELETE' && headers['if-match'] ? answers.shift() : undefined);
    expect(await store[how](digest, { signal })).toBe(false);
    expect(answers).toEqual([]);
    expect(await readAll(store, digest)).toEqual(bytes);
  });

  test('a server that knows no conditional delete deletes', async () => {
    proxy.faultOf = ({ method, headers }) =>
      method === 'DELETE' && headers['if-match'] ? { kind: 'answer', status: 501, code: 'NotImplemented' } : undefined;
    expect(await store.delete(digest, { signal })).toBe(true);
    expect(await store.open(digest, { signal })).toBeUndefined();
  });
});
