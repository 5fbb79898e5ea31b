import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type BlobStore,
  type Bytes,
  type FileBlobs,
  fileBlobs,
  fileStorage,
  type OpenBlob,
  type Storage,
  tiered,
} from '@proxycache/core';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { type CacheUnderTest, startPair } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

let directory: string;
let disk: Storage;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'stores-of-classes-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  disk = fileStorage(join(directory, 'disk'));
});

const stored = (folder: string) => readdirSync(join(directory, folder, 'blobs/sha256')).length;

/** A manifest, a config and a layer, pulled twice: the second time all of it is stored. */
async function pullTwice(storage: Storage): Promise<CacheUnderTest> {
  const { upstream, cache } = await startPair({ cache: { storage, memory: { blobs: 0 } } });
  upstream.addImage('app', { tag: '1', layerSizes: [80 * 1024] });
  for (const _ of ['once', 'again']) {
    expect((await pullImage(cache, { path: '/v2/up/app', tag: '1' })).status).toBe(200);
    await expect.poll(() => cache.seen('ingest-ended').map(({ outcome }) => outcome)).toEqual(['stored', 'stored']);
    // What is open is shared for a second.
    await cache.clock.advance(2_000);
  }
  expect(upstream.count({ method: 'GET', path: /blobs/ })).toBe(2);
  expect(cache.seen('store-failed')).toEqual([]);
  return cache;
}

class Counted implements FileBlobs {
  readonly #blobs: FileBlobs;
  opened = 0;
  constructor(blobs: FileBlobs) {
    this.#blobs = blobs;
  }
  takes(size: number) {
    return this.#blobs.takes(size);
  }
  newPath() {
    return this.#blobs.newPath();
  }
  open(...how: Parameters<FileBlobs['open']>) {
    this.opened++;
    return this.#blobs.open(...how);
  }
  adopt(...how: Parameters<FileBlobs['adopt']>) {
    return this.#blobs.adopt(...how);
  }
  put(...how: Parameters<FileBlobs['put']>) {
    return this.#blobs.put(...how);
  }
  delete(...how: Parameters<FileBlobs['delete']>) {
    return this.#blobs.delete(...how);
  }
  quarantine(...how: Parameters<FileBlobs['quarantine']>) {
    return this.#blobs.quarantine(...how);
  }
  digests(...how: Parameters<FileBlobs['digests']>) {
    return this.#blobs.digests(...how);
  }
}

test('with a local store that is a class no tier stored a blob', async () => {
  const local = new Counted(fileBlobs(join(directory, 'local'), { maxBytes: 1e9 }));
  await pullTwice({ ...disk, blobs: tiered({ local, remote: disk.blobs }) });
  expect([stored('disk'), stored('local')]).toEqual([3, 3]);
  expect(local.opened).toBeGreaterThan(0);
});

/** As a store over a network gives one. */
class Streamed {
  readonly #blob: Extract<OpenBlob, { kind: 'file' }>;
  constructor(blob: Extract<OpenBlob, { kind: 'file' }>) {
    this.#blob = blob;
  }
  get kind() {
    return 'stream' as const;
  }
  get size() {
    return this.#blob.size;
  }
  get body(): Bytes {
    const blob = this.#blob;
    async function* all() {
      const bytes = Buffer.alloc(blob.size);
      await blob.read(bytes, 0);
      yield bytes;
    }
    return all();
  }
  close() {
    return this.#blob.close();
  }
}

/** A store without ranges, whose blobs are of a class. */
function streamed(blobs: BlobStore): BlobStore {
  return {
    ...blobs,
    async open(digest, options) {
      const blob = await blobs.open(digest, options);
      return blob?.kind === 'file' ? new Streamed(blob) : blob;
    },
  };
}

test('what a store had as blobs of a class could not be read', async () => {
  await pullTwice({ ...disk, blobs: streamed(disk.blobs) });
});

test('a scrub could not read what tiers have, where the remote store has it as blobs of a class', async () => {
  const local = fileBlobs(join(directory, 'local'));
  const cache = await pullTwice({ ...disk, blobs: tiered({ local, remote: streamed(disk.blobs) }) });
  expect(await cache.cache.scrub()).toMatchObject({ blobs: { checked: 3, flawed: 0 } });
});
