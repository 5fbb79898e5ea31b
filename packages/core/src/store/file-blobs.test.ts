import { setMaxListeners } from 'node:events';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualClock } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Digest, digestHex, digestOf } from '../oci/digest.ts';
import type { BlobStore } from './blob-store.ts';
import { fileStorage } from './file-storage.ts';

const unreadable = vi.hoisted(() => new Map<string, string>());
const otherFileSystem = vi.hoisted(() => ({ isOne: false, onRename: (): void => undefined }));
vi.mock('./file-system.ts', async (importOriginal) => {
  const real = await importOriginal<typeof import('./file-system.ts')>();
  const renameFile = async (from: string, to: string) => {
    if (otherFileSystem.isOne && from.includes('spooled')) {
      otherFileSystem.onRename();
      throw Object.assign(new Error('EXDEV: cross-device link not permitted'), { code: 'EXDEV' });
    }
    await real.renameFile(from, to);
  };
  const statFile = async (path: string) => {
    const code = [...unreadable].find(([end]) => path.endsWith(end))?.[1];
    if (code !== undefined) throw Object.assign(new Error(`${code}: it failed, stat`), { code });
    return await real.statFile(path);
  };
  return { ...real, renameFile, statFile };
});

const { signal } = new AbortController();
// One test uses it for many calls at a time.
setMaxListeners(0, signal);
const bytes = Buffer.alloc(3_000_000, 'content');
const digest = digestOf(bytes);
const size = bytes.byteLength;
const clock = manualClock();
let directory: string;
let blobs: BlobStore;
let file: string;

beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'file-blobs-'));
  blobs = fileStorage(directory, { clock }).blobs;
  file = join(directory, 'spool/spooled');
  fs.writeFileSync(file, bytes);
});
afterEach(() => {
  unreadable.clear();
  otherFileSystem.isOne = false;
  otherFileSystem.onRename = () => undefined;
  fs.rmSync(directory, { recursive: true });
});

const pathOf = (of: Digest) => join(directory, 'blobs/sha256', digestHex(of));

async function open(of: Digest) {
  const blob = await blobs.open(of, { signal });
  if (blob?.kind !== 'file') throw new Error('not stored as a file');
  return blob;
}

async function digests(): Promise<Digest[]> {
  const found: Digest[] = [];
  for await (const blob of blobs.digests({ signal })) found.push(blob.digest);
  return found;
}

describe('adopting', () => {
  test('is a rename where it can be', async () => {
    const { ino } = fs.statSync(file);
    await blobs.adopt({ file, digest, size, signal });
    expect(fs.statSync(pathOf(digest)).ino).toBe(ino);
  });

  test('copies from another file system', async () => {
    otherFileSystem.isOne = true;
    await blobs.adopt({ file, digest, size, signal });
    expect(fs.readFileSync(pathOf(digest)).equals(bytes)).toBe(true);
    expect(fs.existsSync(file)).toBe(false);
    expect(fs.readdirSync(join(directory, 'tmp'))).toEqual([]);
  });

  test('leaves nothing of a copy that is given up', async () => {
    otherFileSystem.isOne = true;
    const controller = new AbortController();
    otherFileSystem.onRename = () => controller.abort(new Error('gave up'));
    await expect(blobs.adopt({ file, digest, size, signal: controller.signal })).rejects.toThrow('gave up');
    expect(fs.statSync(file).size).toBe(size);
    expect(fs.readdirSync(join(directory, 'tmp'))).toEqual([]);
    expect(await digests()).toEqual([]);
  });

  test('replaces a stored file that lost bytes', async () => {
    fs.writeFileSync(pathOf(digest), bytes.subarray(10));
    await blobs.adopt({ file, digest, size, signal });
    expect((await open(digest)).size).toBe(size);
  });

  test('replaces a stored file of the same size that has other bytes, and so does putting', async () => {
    const rotten = Buffer.from(bytes).fill('x', 0, 1);
    for (const store of [
      () => blobs.adopt({ file, digest, size, signal }),
      () => blobs.put({ digest, bytes, signal }),
    ]) {
      fs.writeFileSync(pathOf(digest), rotten);
      const reader = await open(digest);
      await store();
      expect(fs.readFileSync(pathOf(digest)).equals(bytes)).toBe(true);
      const into = Buffer.alloc(size);
      await reader.read(into, 0);
      await reader.close();
      expect(into.equals(rotten)).toBe(true);
    }
    expect(fs.existsSync(file)).toBe(false);
  });

  test('leaves a file of another size alone', async () => {
    await expect(blobs.adopt({ file, digest, size: size + 1, signal })).rejects.toMatchObject({
      code: 'storage-failed',
      message: expect.stringContaining('3000000 bytes'),
    });
    expect(fs.existsSync(file)).toBe(true);
  });

  test('names the blob, the file and the cause when it fails', async () => {
    fs.rmSync(join(directory, 'blobs'), { recursive: true });
    fs.writeFileSync(join(directory, 'blobs'), 'in the way');
    await expect(blobs.adopt({ file, digest, size, signal })).rejects.toMatchObject({
      code: 'storage-failed',
      message: expect.stringMatching(`could not store ${digest} from ${file}: ENOTDIR`),
    });
    expect(fs.existsSync(file)).toBe(true);
  });
});

describe('a stored blob', () => {
  test('counts as stored when it was stored last, so that a retention under way spares it', async () => {
    await blobs.put({ digest, bytes, signal });
    const startedAt = clock.now();
    clock.set(startedAt + 5_000);
    await blobs.adopt({ file, digest, size, signal });
    expect(await blobs.delete(digest, { unlessStoredAfter: startedAt, signal })).toBe(false);
    clock.set(startedAt + 10_000);
    await blobs.put({ digest, bytes, signal });
    expect(await blobs.delete(digest, { unlessStoredAfter: startedAt + 9_999, signal })).toBe(false);
    expect(await blobs.delete(digest, { unlessStoredAfter: startedAt + 10_000, signal })).toBe(true);
  });

  test('that vanished from the disk is not stored', async () => {
    await blobs.put({ digest, bytes, signal });
    fs.unlinkSync(pathOf(digest));
    expect(await blobs.open(digest, { signal })).toBeUndefined();
    expect(await digests()).toEqual([]);
  });

  test('with a folder in its place is a failure, and is not listed', async () => {
    fs.mkdirSync(pathOf(digest));
    await expect(blobs.open(digest, { signal })).rejects.toMatchObject({
      code: 'storage-failed',
      message: expect.stringContaining('not a file'),
    });
    expect(await digests()).toEqual([]);
  });

  test('that the disk does not give ended the listing of all others', async () => {
    const all = Array.from({ length: 40 }, (_, index) => Buffer.from(`${index}`));
    const sorted = all.map((one) => digestOf(one)).sort();
    for (const one of all) await blobs.put({ digest: digestOf(one), bytes: one, signal });
    for (const one of [3, 4, 5, 30]) unreadable.set(digestHex(sorted[one]!), 'EIO');
    expect(await digests()).toEqual(sorted.filter((_, index) => ![3, 4, 5, 30].includes(index)));
    // That is not about the file.
    unreadable.set(digestHex(sorted[10]!), 'EMFILE');
    await expect(digests()).rejects.toMatchObject({ code: 'storage-failed' });
  });

  test('is not hidden by a disk that gives nothing any more: the listing fails', async () => {
    const all = Array.from({ length: 40 }, (_, index) => Buffer.from(`${index}`));
    for (const one of all) await blobs.put({ digest: digestOf(one), bytes: one, signal });
    for (const one of all
      .map((each) => digestOf(each))
      .sort()
      .slice(20))
      unreadable.set(digestHex(one), 'EIO');
    await expect(digests()).rejects.toMatchObject({ code: 'storage-failed' });
  });

  test('is listed without the files that somebody else put beside it', async () => {
    await blobs.put({ digest, bytes, signal });
    fs.writeFileSync(join(directory, 'blobs/sha256/README'), '');
    expect(await digests()).toEqual([digest]);
  });
});

describe('an open blob', () => {
  beforeEach(() => blobs.adopt({ file, digest, size, signal }));

  test('is closed after the reads that run, and read no more', async () => {
    const blob = await open(digest);
    const into = Buffer.alloc(size);
    const reading = blob.read(into, 0);
    const closing = blob.close();
    await expect(blob.read(into, 0)).rejects.toMatchObject({ code: 'storage-failed' });
    expect(await reading).toBe(size);
    await closing;
    expect(into.equals(bytes)).toBe(true);
  });

  test('holds one descriptor, until it is closed or its opening was given up', async () => {
    const descriptors = () => fs.readdirSync('/dev/fd').length;
    const before = descriptors();
    const held = await Promise.all(Array.from({ length: 50 }, () => open(digest)));
    expect(descriptors()).toBeGreaterThanOrEqual(before + 50);
    await Promise.all(held.map((blob) => blob.close()));
    const controller = new AbortController();
    const opening = Array.from({ length: 5 }, () => blobs.open(digest, { signal: controller.signal }));
    controller.abort(new Error('gave up'));
    for (const outcome of await Promise.allSettled(opening)) expect(outcome.status).toBe('rejected');
    await expect.poll(descriptors).toBeLessThanOrEqual(before);
  });
});
