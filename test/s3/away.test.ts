import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { type BlobStore, digestOf } from '@proxycache/core';
import { type S3Blobs, type S3BlobsOptions, s3Blobs } from '@proxycache/s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { readAll } from './read-all.ts';
import { type S3Server, startS3Server } from './s3-server.ts';

const { signal } = new AbortController();
const waiting = { timeout: 15_000, interval: 20 };
const bytes = Buffer.from('kept over all of it');
const digest = digestOf(bytes);

describe('an S3 that is away', () => {
  let server: S3Server;
  let folder: string;
  let file: string;
  let store: S3Blobs;

  beforeAll(async () => {
    server = await startS3Server();
    folder = makeTemporaryFolder('away');
    file = join(folder, 'spooled');
  });
  beforeEach(async () => {
    store = open();
    await writeFile(file, bytes);
    await store.put({ digest, bytes, signal });
  });
  afterEach(async () => {
    server.thaw();
    await store?.close();
  });
  afterAll(async () => {
    await server?.close();
    removeFolder(folder);
  });

  const open = (more: Partial<S3BlobsOptions> = {}) =>
    s3Blobs({ bucket: server.bucket, options: server.config, answerWithin: '20s', ...more });

  /** What each call of a store fails with. */
  async function everyFailure(store: BlobStore, given = { signal }, listing = given): Promise<Record<string, Error>> {
    const calls = {
      open: store.open(digest, given),
      adopt: store.adopt({ file, digest, size: bytes.byteLength, ...given }),
      put: store.put({ digest, bytes, ...given }),
      delete: store.delete(digest, given),
      quarantine: store.quarantine(digest, given),
      digests: store.digests(listing)[Symbol.asyncIterator]().next(),
    };
    const outcomes = await Promise.allSettled(Object.values(calls));
    const failures = Object.keys(calls).map((name, at) => {
      const outcome = outcomes[at];
      return [name, outcome?.status === 'rejected' ? outcome.reason : new Error(`${name} did not fail`)];
    });
    return Object.fromEntries(failures);
  }

  test.each(['stop', 'kill'] as const)(
    'fails every call after a %s, and has what it had when it is back',
    async (how) => {
      await server[how]();
      // At once: attempts of an upload are the longest, some 5 s.
      for (const error of Object.values(await everyFailure(store))) {
        const message = expect.stringMatching(/S3 \(bucket blobs\) could not be asked for .*(ECONN|socket hang up)/);
        expect(error).toMatchObject({ code: 'storage-failed', message });
      }
      await server.start();
      await expect.poll(() => readAll(store, digest).catch(() => undefined), waiting).toEqual(bytes);
      await store.adopt({ file, digest, size: bytes.byteLength, signal });
      expect(await readAll(store, digest)).toEqual(bytes);
    },
  );

  test('fails within its deadline while it stands still, and goes on when S3 does', async () => {
    const hasty = open({ answerWithin: 200, idleWithin: 150 });
    server.freeze();
    // A listing may take longer.
    const listing = { signal: AbortSignal.timeout(500) };
    const { digests, adopt, ...failures } = await everyFailure(hasty, { signal }, listing);
    expect(digests).toMatchObject({ name: 'TimeoutError' });
    // The fifth attempt, each of which has twice as long as the one before.
    expect(adopt?.message).toMatch(/did not answer PutObject .*within 2400 ms/);
    // The one that waits for another finds it left alone, or not yet.
    const silence = /did not answer (\w+ .*within 20[01] ms|lately)/;
    for (const error of Object.values(failures)) expect(error.message).toMatch(silence);
    server.thaw();
    await expect.poll(() => readAll(store, digest).catch(() => undefined), waiting).toEqual(bytes);
    await hasty.close();
  });

  test('lets go of whoever gives up while it stands still', async () => {
    server.freeze();
    const controller = new AbortController();
    const failing = everyFailure(store, { signal: controller.signal });
    const gaveUp = new Error('gave up');
    setTimeout(() => controller.abort(gaveUp), 50);
    for (const error of Object.values(await failing)) expect(error).toBe(gaveUp);
    server.thaw();
    await expect.poll(() => readAll(store, digest).catch(() => undefined), waiting).toEqual(bytes);
  });

  test('is asked no more after close', async () => {
    await store.close();
    for (const error of Object.values(await everyFailure(store))) expect(error).toMatchObject({ code: 'closed' });
    await store.close();
  });

  test('says what is wrong with credentials without saying them', async () => {
    const { accessKeyId } = server;
    const credentials = { accessKeyId, secretAccessKey: 'hunter2-wrong', sessionToken: 'hunter2-session' };
    const wrong = open({ options: { ...server.config, credentials } });
    for (const [name, error] of Object.entries(await everyFailure(wrong))) {
      expect(error, name).toMatchObject({ code: 'storage-failed', message: expect.stringMatching(/ 40[03] /) });
      const shown = inspect(error, { depth: 20, showHidden: true });
      expect(shown).not.toMatch(/hunter2|Signature=|Credential=|X-Amz-Signature/i);
    }
    await wrong.close();
  });
});
