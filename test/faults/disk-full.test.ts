import { readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileStorage } from '@proxycache/core';
import { chunkGate, flakyStore, openFiles, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startPair } from '../semantics/cache-under-test.ts';
import { pullImage } from '../semantics/pull-image.ts';
import { requireMount } from '../system.ts';
import { slowClient } from './slow-client.ts';
import { type SmallDisk, smallDisk } from './small-disk.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const size = 32 * MiB;
const bytes = Buffer.from(seededBytes('disk', size));
const gets = { method: 'GET', path: /\/blobs\// };
const restMs = 30_000;

async function start() {
  const disk = smallDisk(64);
  const pair = await startPair({ cache: { storage: fileStorage(disk.directory), minFree: 0 } });
  return { ...pair, disk };
}

/** The files that are stored or under way. */
function files(disk: SmallDisk): string[] {
  return ['blobs', 'spool', 'tmp'].flatMap((folder) =>
    readdirSync(join(disk.directory, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name),
  );
}

/** What a blob's pull, once there is room again, leaves in the store. */
async function expectStored(cache: CacheUnderTest, disk: SmallDisk, path: string): Promise<void> {
  await cache.clock.advance(restMs);
  const { status, body } = await cache.get(path);
  const digest = path.slice(path.lastIndexOf('/') + 1);
  expect([status, digestOfBody(body)]).toEqual([200, digest]);
  await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('stored');
  expect(files(disk)).toContain(digest.slice('sha256:'.length));
}

describe.skipIf(!requireMount())('a disk that is full', () => {
  test('in the middle of a transfer costs nobody the pull, however fast or slow', { timeout: 60_000 }, async () => {
    const { upstream, cache, disk } = await start();
    const digest = upstream.putBlob('team/app', bytes);
    const path = `/v2/up/team/app/blobs/${digest}`;
    const url = `${cache.url}${path}`;
    const coming = chunkGate(MiB);
    coming.allow(20);
    upstream.on({ ...gets, times: 1 }, { throttle: coming });

    const inStep = [await slowClient(url), await slowClient(url), await slowClient(url, `bytes=${MiB}-`)];
    const behind = [await slowClient(url), await slowClient(url, 'bytes=100-')];
    const end = cache.get(path, { headers: { range: 'bytes=-1000' } });
    const parts = cache.get(path, { headers: { range: `bytes=0-9,${size - 10}-` } });
    await Promise.all(inStep.map(({ readTo }) => readTo(18 * MiB)));

    disk.fill();
    coming.open();
    const fast = await Promise.all(inStep.map(({ rest }) => rest()));
    expect(fast.map((got) => got.equals(got.byteLength === size ? bytes : bytes.subarray(MiB)))).toEqual([
      true,
      true,
      true,
    ]);
    expect((await end).body.equals(bytes.subarray(-1000))).toBe(true);
    expect((await parts).body.includes(bytes.subarray(-10))).toBe(true);
    await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'failed' }]);
    // Those behind have what was written.
    expect(openFiles(disk.directory)).toHaveLength(1);
    const slow = await Promise.all(behind.map(({ rest }) => rest()));
    expect(slow.map((got, i) => got.equals(i === 0 ? bytes : bytes.subarray(100)))).toEqual([true, true]);

    expect(cache.seen('passed-through')).toHaveLength(7);
    expect(new Set(cache.seen('passed-through').map(({ reason }) => reason))).toEqual(new Set(['spool-failed']));
    await expect.poll(() => openFiles(disk.directory)).toEqual([]);
    disk.free();
    await expect.poll(() => files(disk)).toEqual([]);
    expect(disk.usedBytes()).toBeLessThan(MiB);
    await expectStored(cache, disk, path);
  });

  test('gets back what the transfer took as soon as those behind have read it', { timeout: 60_000 }, async () => {
    const { upstream, cache, disk } = await start();
    const digest = upstream.putBlob('team/app', bytes);
    const url = `${cache.url}/v2/up/team/app/blobs/${digest}`;
    const coming = chunkGate(MiB);
    coming.allow(20);
    upstream.on({ ...gets, times: 1 }, { throttle: coming });
    const client = await slowClient(url);
    await client.readTo(18 * MiB);
    disk.fill();
    coming.allow(8);
    await client.readTo(27 * MiB);
    expect(openFiles(disk.directory)).toEqual([]);
    expect((await client.rest()).equals(bytes)).toBe(true);
    expect(upstream.requests.reduce((sum, { sentBytes }) => sum + sentBytes, 0)).toBeLessThan(1.5 * size);
  });

  test('passes on nothing wrong as whole', { timeout: 60_000 }, async () => {
    const { upstream, cache, disk } = await start();
    const digest = upstream.putBlob('team/app', bytes);
    const path = `/v2/up/team/app/blobs/${digest}`;
    const coming = chunkGate(MiB);
    coming.allow(20);
    // What came before the disk was full: only the digest of all can tell.
    upstream.on({ ...gets, times: 1 }, { corruptAt: 5 * MiB });
    upstream.on({ ...gets, times: 1 }, { throttle: coming });
    const [whole, rest] = [
      await slowClient(`${cache.url}${path}`),
      await slowClient(`${cache.url}${path}`, `bytes=${MiB}-`),
    ];
    await Promise.all([whole.readTo(18 * MiB), rest.readTo(17 * MiB)]);
    disk.fill();
    coming.open();
    const broken = [whole, rest].map((client) => expect(client.rest()).rejects.toMatchObject({ code: 'ECONNRESET' }));
    await Promise.all(broken);
    expect((await cache.get(path)).body.equals(bytes)).toBe(true);
  });

  test('is not noticed by those who pull a small blob', async () => {
    const { upstream, cache, disk } = await start();
    const small = Buffer.from(seededBytes('small', 900 * KiB));
    const digest = upstream.putBlob('team/app', small);
    const path = `/v2/up/team/app/blobs/${digest}`;
    const coming = chunkGate(64 * KiB);
    coming.allow(4);
    upstream.on({ ...gets, times: 1 }, { throttle: coming });
    const all = [cache.get(path), cache.get(path), cache.get(path, { headers: { range: 'bytes=5-' } })];
    await expect.poll(() => disk.usedBytes()).toBeGreaterThan(200 * KiB);
    disk.fill();
    coming.open();
    const got = (await Promise.all(all)).map(({ status, body }) => [status, body.byteLength]);
    expect(got).toEqual([
      [200, small.byteLength],
      [200, small.byteLength],
      [206, small.byteLength - 5],
    ]);
    expect(digestOfBody((await all[0]!).body)).toBe(digest);
    disk.free();
    await expect.poll(() => files(disk)).toEqual([]);
    await expectStored(cache, disk, path);
  });

  test('from the start costs no image; with room again the next pull is stored', { timeout: 60_000 }, async () => {
    const { upstream, cache, disk } = await start();
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB, 10 * KiB] });
    disk.fill();
    for (const pull of ['get-by-tag', undefined] as const) {
      const pulled = await pullImage(cache, { path: '/v2/up/team/app', tag: '1' }, pull);
      expect({ status: pulled.status, digest: pulled.digest, pieces: pulled.content.size }).toEqual({
        status: 200,
        digest: image.root.digest,
        pieces: 4,
      });
    }
    expect(cache.seen('passed-through').length).toBeGreaterThan(0);
    expect(cache.seen('store-failed').length).toBeGreaterThan(0);
    disk.free();
    await expect.poll(() => files(disk)).toEqual([]);
    await expectStored(cache, disk, `/v2/up/team/app/blobs/${image.layers[0]!.digest}`);
  });

  test('is told from one that nobody may write to, which costs no pull either', { timeout: 60_000 }, async () => {
    const { upstream, cache, disk } = await start();
    const at = { path: '/v2/up/team/app', tag: '1' };
    upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB] });
    const other = upstream.addImage('team/other', { tag: '1', layerSizes: [3 * MiB] });
    expect((await pullImage(cache, at)).content.size).toBe(3);
    await expect.poll(() => cache.clock.advance(1_000).then(() => openFiles(disk.directory))).toEqual([]);
    disk.readOnly(true);
    const asked = upstream.count(gets);
    expect((await pullImage(cache, at)).content.size).toBe(3);
    expect(upstream.count(gets)).toBe(asked);
    const pulled = await pullImage(cache, { path: '/v2/up/team/other', tag: '1' });
    expect([pulled.digest, pulled.content.size]).toEqual([other.root.digest, 3]);
    expect(cache.seen('passed-through').at(-1)).toMatchObject({ reason: 'spool-failed' });
    disk.readOnly(false);
    await expectStored(cache, disk, `/v2/up/team/other/blobs/${other.layers[0]!.digest}`);
  });
});

test('a folder that was replaced by a file costs no pull', async () => {
  const { upstream, cache } = await startPair({ cache: { minFree: 0 } });
  const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB, 10 * KiB] });
  rmSync(cache.directory, { recursive: true });
  writeFileSync(cache.directory, 'somebody else');
  const pulled = await pullImage(cache, { path: '/v2/up/team/app', tag: '1' });
  expect([pulled.digest, pulled.content.size]).toEqual([image.root.digest, 4]);
});

test('a spool file that can be read no longer costs those behind nothing', { timeout: 60_000 }, async () => {
  const { upstream, cache } = await startPair({
    cache: { minFree: 0 },
    // So that the file stays where it can be cut.
    mount: {
      wrapStorage(storage) {
        const flaky = flakyStore(storage);
        flaky.on('blobs.adopt', { hang: true });
        return flaky;
      },
    },
  });
  const digest = upstream.putBlob('team/app', bytes);
  const url = `${cache.url}/v2/up/team/app/blobs/${digest}`;
  const behind = await Promise.all([
    slowClient(url),
    slowClient(url, `bytes=${MiB}-`),
    slowClient(url, `bytes=0-${size - 2}`),
  ]);
  await (await slowClient(url)).rest();
  const [spooled] = readdirSync(join(cache.directory, 'spool'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  truncateSync(spooled!, MiB);
  const got = await Promise.all(behind.map(({ rest }) => rest()));
  const expected = [bytes, bytes.subarray(MiB), bytes.subarray(0, size - 1)];
  expect(got.map((all, i) => all.equals(expected[i]!))).toEqual([true, true, true]);
  expect(cache.seen('passed-through').length).toBeGreaterThan(0);
});
