import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileStorage } from '@proxycache/core';
import { chunkGate, type FakeUpstream, seededBytes } from '@proxycache/test-kit';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { digestOfBody, startUpstream } from '../semantics/cache-under-test.ts';
import { request } from '../semantics/request.ts';
import { startServerProcess } from './server-process.ts';

const MiB = 1024 * 1024;
const size = 8 * MiB;
const gets = { method: 'GET', path: /\/blobs\// };
let folder: string;
let upstream: FakeUpstream;
let digest: string;
let path: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'crash-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  upstream = await startUpstream();
  digest = upstream.putBlob('team/app', seededBytes('crash', size));
  path = `/v2/up/team/app/blobs/${digest}`;
});

/** The files below a folder of the storage, and their sizes. */
function files(of: string): [string, number][] {
  return readdirSync(join(folder, of), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name, parentPath }) => [name, statSync(join(parentPath, name)).size]);
}

const owners = () => readdirSync(join(folder, 'spool'));
const start = () => startServerProcess(folder, upstream.url);

describe('39: kill -9', () => {
  test('in the middle of a transfer leaves nothing that outlives the next start, and the pull works', async () => {
    const crashed = await start();
    expect(crashed.spooled).toEqual([]);
    upstream.on({ ...gets, times: 1 }, { stallAfter: 5 * MiB });
    const cut = request(`${crashed.url}${path}`).catch((error: Error) => ({ failure: error }));
    await expect.poll(() => files('spool').map(([, bytes]) => bytes)).toEqual([5 * MiB]);
    await crashed.kill();
    expect((await cut).failure).toBeDefined();
    expect(files('spool')).toHaveLength(1);

    const restarted = await start();
    expect(restarted.spooled).toEqual([]);
    expect(owners()).toHaveLength(1);
    const got = await request(`${restarted.url}${path}`);
    expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
    await expect.poll(() => restarted.events.find(({ type }) => type === 'ingest-ended')?.outcome).toBe('stored');
    expect(files('spool')).toEqual([]);
    expect(files('blobs')).toEqual([[digest.slice('sha256:'.length), size]]);
    expect(files('tmp')).toEqual([]);
  });

  test('over and over, at any point, never leaves a wrong blob', async () => {
    for (let run = 0; run < 4; run++) {
      const server = await start();
      expect(server.spooled).toEqual([]);
      const throttle = chunkGate(256 * 1024);
      const heal = upstream.on({ ...gets, times: 1 }, { throttle });
      const cut = request(`${server.url}${path}`).catch((error: Error) => ({ failure: error }));
      throttle.allow(run * 10);
      await expect.poll(() => files('spool').map(([, bytes]) => bytes)).toEqual([run * 10 * 256 * 1024]);
      await server.kill();
      await cut;
      heal();
      expect(files('blobs')).toEqual([]);
    }
    const server = await start();
    expect(digestOfBody((await request(`${server.url}${path}`)).body)).toBe(digest);
  });

  test('after the blob was stored loses nothing: it is there with the upstream down', async () => {
    const server = await start();
    await request(`${server.url}${path}`);
    await expect.poll(() => server.events.find(({ type }) => type === 'ingest-ended')?.outcome).toBe('stored');
    await server.kill();
    await upstream.stop();
    const restarted = await start();
    const got = await request(`${restarted.url}${path}`);
    expect([got.headers['cache-status'], digestOfBody(got.body)]).toEqual(['proxycache; hit', digest]);
  });
});

test('two processes that share a folder leave the live spool of the other alone', async () => {
  const one = await start();
  const throttle = chunkGate(MiB);
  upstream.on({ ...gets, times: 1 }, { throttle });
  const reading = request(`${one.url}${path}`);
  throttle.allow(3);
  await expect.poll(() => files('spool').map(([, bytes]) => bytes)).toEqual([3 * MiB]);

  const two = await start();
  expect(two.spooled).toHaveLength(1);
  expect(owners()).toHaveLength(2);
  // The other one fetches for itself meanwhile; then it is killed, and what it left goes with the next start.
  upstream.on({ ...gets, times: 1 }, { stallAfter: MiB });
  const cut = request(`${two.url}${path}`).catch((error: Error) => ({ failure: error }));
  await expect
    .poll(() =>
      files('spool')
        .map(([, bytes]) => bytes)
        .sort(),
    )
    .toEqual([MiB, 3 * MiB]);
  await two.kill();
  await cut;
  const three = await start();
  expect(three.spooled).toHaveLength(1);
  expect(owners()).toHaveLength(2);

  throttle.open();
  const got = await reading;
  expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
  await expect.poll(() => one.events.find(({ type }) => type === 'ingest-ended')?.outcome).toBe('stored');
  await upstream.stop();
  // What one has stored, and proven, the other has too.
  const shared = await request(`${three.url}${path}`);
  expect([shared.headers['cache-status'], digestOfBody(shared.body)]).toEqual(['proxycache; hit', digest]);
});

test('kill -9 forgets no use of more than a minute ago', { timeout: 90_000 }, async () => {
  const crashed = await startServerProcess(folder, upstream.url, { hurry: true });
  const pulledAt = Date.now();
  const got = await request(`${crashed.url}${path}`);
  expect([got.status, got.failure]).toEqual([200, undefined]);
  const { signal } = new AbortController();
  const key = `use/up/-/team%2Fapp/blob.${encodeURIComponent(digest)}`;
  const lastUse = async () => {
    const entry = await fileStorage(folder).metadata.get(key, { signal });
    return entry && JSON.parse(entry.value).at;
  };
  await expect.poll(lastUse, { timeout: 60_000 }).toBeDefined();
  await crashed.kill();
  expect(await lastUse()).toBeGreaterThanOrEqual(pulledAt);
});
