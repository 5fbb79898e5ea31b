import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localCoordinator } from '@proxycache/core';
import { pino } from 'pino';
import { afterAll, describe, expect, test } from 'vitest';
import { parseConfig } from './load-config.ts';
import { type OpenStorage, openStorage } from './open-storage.ts';

const folder = mkdtempSync(join(tmpdir(), 'proxycache-storage-'));
afterAll(() => rmSync(folder, { recursive: true }));
const logger = pino({ level: 'silent' });
const within = { signal: AbortSignal.timeout(60_000) };
/** Nobody answers there. */
const nowhere = '127.0.0.1:1';

function open(storage: unknown, environment: Record<string, string> = {}): Promise<OpenStorage> {
  const config = parseConfig({ storage: { directory: 'own', ...(storage as object) } }, environment);
  return openStorage({ loaded: { config, folder }, logger, coordinator: localCoordinator() });
}

function problemOf(storage: unknown): string {
  try {
    parseConfig({ storage }, {});
  } catch (error) {
    return (error as Error).message;
  }
  return 'none';
}

test('a storage is a folder beside the file, with the coordinator of its workers', async () => {
  const { storage, close } = await open({});
  expect(storage.spoolDirectory).toBe(join(folder, 'own', 'spool'));
  expect(existsSync(join(folder, 'own'))).toBe(true);
  expect(storage.coordinator).toBeDefined();
  await close();
});

test('transfers are where the file says', async () => {
  const { storage } = await open({ spool: 'transfers/here' });
  expect(storage.spoolDirectory).toBe(join(folder, 'transfers/here'));
});

describe('Redis', () => {
  test.each([
    [{ url: `redis://${nowhere}/2`, prefix: 'mine', answerWithin: '50ms' }],
    [{ sentinel: { name: 'primary', nodes: [nowhere], password: 'p' }, username: 'u', password: 'p', database: 1 }],
    [{ cluster: { nodes: [nowhere] }, tls: { insecure: true } }],
  ])(
    'has metadata and coordination by %j, and does not keep a server from starting while it is away',
    async (redis) => {
      const { storage, close } = await open({ metadata: { redis } });
      expect(await storage.blobs.open(`sha256:${'0'.repeat(64)}`, within)).toBeUndefined();
      await expect(storage.metadata.get('key', within)).rejects.toThrow();
      await expect(storage.coordinator?.holder('key')).rejects.toMatchObject({ code: 'storage-failed' });
      await close();
    },
  );

  test.each([
    [{}, 'storage.metadata.redis: expected one of url, sentinel and cluster, received the keys (none)'],
    [{ url: 'redis://a', cluster: { nodes: ['b:1'] } }, 'expected one of url, sentinel and cluster'],
    [{ url: 'http://a' }, 'storage.metadata.redis.url: expected a URL such as "redis://host:6379/0"'],
    [{ cluster: { nodes: ['redis://a:1'] } }, 'storage.metadata.redis.cluster.nodes[0]: expected host:port'],
    [{ url: 'redis://a', tls: { cert: 'a.pem' } }, 'expected both cert and key, or neither'],
    [{ url: 'redis://a', databse: 1 }, 'storage.metadata.redis.databse: unknown key; did you mean "database"?'],
  ])('%j is refused', (redis, message) => {
    expect(problemOf({ metadata: { redis } })).toContain(message);
  });

  test('what only the package can judge is told by its path, without a password', async () => {
    const wrong = open({ metadata: { redis: { url: 'redis://u:271828@a/x', prefix: '{x}' } } });
    await expect(wrong).rejects.toThrow(/^storage\.metadata\.redis\.prefix: /);
    await expect(open({ metadata: { redis: { url: 'redis://u:271828@a/x' } } })).rejects.toThrow(
      expect.not.stringContaining('271828'),
    );
    expect(problemOf({ metadata: { redis: { url: 'rediss//u:271828@a' } } })).not.toContain('271828');
    expect(problemOf({ metadata: { redis: { url: 'redis://a', password: 271_828 } } })).not.toContain('271828');
  });
});

describe('S3', () => {
  test('has blobs, with credentials of the environment, and does not keep a server from starting', async () => {
    const s3 = {
      bucket: 'b',
      endpoint: `http://${nowhere}`,
      forcePathStyle: true,
      accessKeyId: '${ID}',
      secretAccessKey: '${SECRET}',
      answerWithin: '50ms',
      checksums: 'required',
      storageClass: 'STANDARD',
      redirectReads: true,
    };
    const { storage, close } = await open({ blobs: { s3 } }, { ID: 'a', SECRET: 'b' });
    expect(await storage.metadata.get('key', within)).toBeUndefined();
    const { signal } = new AbortController();
    await expect(storage.blobs.open(`sha256:${'0'.repeat(64)}`, { signal })).rejects.toMatchObject({
      code: 'storage-failed',
    });
    await close();
  });

  test.each([
    [{}, 'storage.blobs.s3.bucket: expected text that is not empty, received nothing'],
    [{ bucket: 'b', accessKeyId: 'a' }, 'expected both accessKeyId and secretAccessKey, or neither'],
    [{ bucket: 'b', endpoint: 'minio:9000' }, 'storage.blobs.s3.endpoint: expected an http(s) URL'],
    [{ bucket: 'b', partSize: '1MiB' }, 'storage.blobs.s3.partSize: expected a size such as'],
  ])('%j is refused', (s3, message) => {
    expect(problemOf({ blobs: { s3 } })).toContain(message);
  });

  test('has blobs on a local disk before it, of this process alone', async () => {
    const s3 = { bucket: 'b', endpoint: `http://${nowhere}`, forcePathStyle: true, answerWithin: '50ms' };
    const near = { directory: 'near', maxBytes: '1GiB' };
    const { storage, close } = await open({ blobs: { s3 }, local: near });
    expect(existsSync(join(folder, 'near', 'blobs'))).toBe(true);
    expect(storage.blobs).not.toHaveProperty('close');
    await close();
    expect(problemOf({ local: near })).toContain('storage.local: expected `blobs` elsewhere');
    expect(() => parseConfig({ storage: { blobs: { s3 }, local: near }, workers: 2 }, {})).toThrow(
      'storage.local: expected `workers: 1` beside it',
    );
  });

  test('a secret is never shown', async () => {
    expect(problemOf({ blobs: { s3: { bucket: 'b', accessKeyId: 'a', secretAccessKey: 271_828 } } })).not.toContain(
      '271828',
    );
    await expect(open({ blobs: { s3: { bucket: 'b', prefix: 'no end' } } })).rejects.toThrow(
      /^storage\.blobs\.s3\.prefix: /,
    );
  });
});
