import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { blobStoreContract, casesOf } from '@proxycache/contract';
import { digestOf, fileBlobs, tiered } from '@proxycache/core';
import { type S3BlobsOptions, s3Blobs } from '@proxycache/s3';
import { type AddedImage, type FakeUpstream, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type SpawnedServer, spawnServer } from '../faults/spawn-server.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { request } from '../semantics/request.ts';
import { readAll } from './read-all.ts';
import { type S3Server, s3Programs, startS3Server } from './s3-server.ts';

const waiting = { timeout: 60_000, interval: 50 };
let server: S3Server;
let folder: string;

beforeAll(async () => {
  server = await startS3Server();
});
afterAll(async () => {
  await server?.close();
});
beforeEach(() => {
  folder = makeTemporaryFolder('s3-tiers');
});
afterEach(() => removeFolder(folder));

const names = (of: string) => readdirSync(of, { recursive: true }).map(String);

let prefixes = 0;
const optionsOf = (): S3BlobsOptions => ({
  bucket: server.bucket,
  options: server.config,
  prefix: `tiers-${prefixes++}/`,
});

// What the other program does not keep is told in contract.test.ts.
describe.skipIf(!s3Programs().includes('versitygw'))('a folder over S3', () => {
  let locals = 0;
  const make = async () => {
    const remote = s3Blobs(optionsOf());
    const local = fileBlobs(join(folder, String(locals++)), { maxBytes: 1e9 });
    return { store: tiered({ local, remote }), close: () => remote.close() };
  };
  for (const { name, run } of casesOf(blobStoreContract)) test(name, () => run(make));
});

describe('S3 that is stopped', () => {
  let upstream: FakeUpstream;
  let s3: S3BlobsOptions;

  beforeEach(async () => {
    upstream = await startFakeUpstream();
    s3 = optionsOf();
  });
  afterEach(() => upstream.stop());

  async function start(): Promise<SpawnedServer> {
    const spawned = await spawnServer(folder, upstream.url, { s3 });
    onTestFinished(spawned.kill);
    return spawned;
  }

  async function pull({ url }: SpawnedServer, { root, blobs }: AddedImage, tag: string): Promise<void> {
    const manifest = await request(`${url}/v2/up/team/app/manifests/${tag}`);
    expect([manifest.status, digestOf(manifest.body)]).toEqual([200, root.digest]);
    for (const { digest } of blobs) {
      const blob = await request(`${url}/v2/up/team/app/blobs/${digest}`);
      expect([blob.status, blob.failure, digestOf(blob.body)]).toEqual([200, undefined, digest]);
    }
  }

  const told = ({ events }: SpawnedServer, type: string) => events.filter((event) => event.type === type);
  const ended = (spawned: SpawnedServer, outcome: string) =>
    told(spawned, 'ingest-ended').filter((event) => event.outcome === outcome).length;

  async function expectInS3(images: readonly AddedImage[]): Promise<void> {
    const store = s3Blobs(s3);
    for (const { root, blobs } of images) {
      for (const { digest } of [root, ...blobs]) {
        const bytes = await readAll(store, digest as `${string}:${string}`);
        expect(bytes && digestOf(bytes)).toBe(digest);
      }
    }
    await store.close();
  }

  test('costs no pull, and gets what came meanwhile when it is back, also after kill -9', {
    timeout: 120_000,
  }, async () => {
    const before = upstream.addImage('team/app', { tag: '1', layerSizes: [6_000_000, 1_000] });
    const meanwhile = upstream.addImage('team/app', { tag: '2', layerSizes: [7_000_000, 2_000] });
    const first = await start();
    await pull(first, before, '1');
    await expect.poll(() => ended(first, 'stored'), waiting).toBe(before.blobs.length);
    await server.kill();
    await pull(first, before, '1');
    await pull(first, meanwhile, '2');
    await expect.poll(() => ended(first, 'queued'), waiting).toBe(meanwhile.blobs.length);
    await upstream.stop();
    await pull(first, meanwhile, '2');
    await first.kill();

    // Nothing is there but what this host has.
    const second = await start();
    await pull(second, meanwhile, '2');
    await pull(second, before, '1');
    await server.start();
    await expect.poll(() => told(second, 'upload-done').length, waiting).toBe(meanwhile.blobs.length + 1);
    await expectInS3([before, meanwhile]);
    await second.kill();

    // Another disk: all of it comes from S3.
    rmSync(join(folder, 'local'), { recursive: true });
    const third = await start();
    await pull(third, meanwhile, '2');
    await pull(third, before, '1');
  });

  test('in the middle of uploads costs no pull, and has them when it is back, though the process was killed, too', {
    timeout: 120_000,
  }, async () => {
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [9_000_000, 3_000] });
    const first = await start();
    server.freeze();
    await pull(first, image, '1');
    // Moved out of the spool, and on its way to an S3 that stands still.
    const onItsWay = () => names(folder).filter((name) => /verified-.*sha256-/.test(name)).length;
    await expect.poll(onItsWay, waiting).toBeGreaterThanOrEqual(image.blobs.length);
    await server.kill();
    await upstream.stop();
    await pull(first, image, '1');
    await first.kill();

    const second = await start();
    await pull(second, image, '1');
    await server.start();
    await expect.poll(() => told(second, 'upload-done').length, waiting).toBeGreaterThanOrEqual(image.blobs.length);
    await expect.poll(onItsWay, waiting).toBe(0);
    await expectInS3([image]);
  });
});
