import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { fileStorage } from './file-storage.ts';
import type { Storage } from './storage.ts';

const { signal } = new AbortController();
const bytes = Buffer.from('some content');
const digest = digestOf(bytes);
const key = 'tag/hub/-/library%2Falpine/3.20';
let directory: string;

beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'file-remake-'));
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

const take = (folder: string) => fs.rmSync(join(directory, folder), { recursive: true });

async function listed({ blobs }: Storage): Promise<string[]> {
  const digests: string[] = [];
  for await (const blob of blobs.digests({ signal })) digests.push(blob.digest);
  return digests;
}

describe.each([false, true])('of a storage in use (durable: %s)', (durable) => {
  let storage: Storage;
  beforeEach(() => {
    storage = fileStorage(directory, { durable });
  });
  const put = () => storage.blobs.put({ digest, bytes, signal });
  const deleted = () => storage.blobs.delete(digest, { signal });

  test.each(['blobs/sha256', 'blobs/sha512', 'blobs'])('what is left is listed without %s', async (folder) => {
    await put();
    take(folder);
    expect(await listed(storage)).toEqual(folder === 'blobs/sha512' ? [digest] : []);
  });

  test.each(['blobs/sha256', 'blobs', 'tmp'])('%s is made again for what is put', async (folder) => {
    take(folder);
    await put();
    expect(await listed(storage)).toEqual([digest]);
  });

  test.each(['blobs/sha256', 'blobs'])('%s is made again for what is adopted', async (folder) => {
    const file = join(directory, 'spool/spooled');
    fs.writeFileSync(file, bytes);
    take(folder);
    await storage.blobs.adopt({ file, digest, size: bytes.byteLength, signal });
    expect(await listed(storage)).toEqual([digest]);
  });

  test('a blob that was not there could not be told from one that lacked tmp, and stayed', async () => {
    await put();
    take('tmp');
    expect(await deleted()).toBe(true);
    expect(await listed(storage)).toEqual([]);
    expect(await deleted()).toBe(false);
  });

  test('tmp is made again for a record', async () => {
    take('tmp');
    await storage.metadata.set(key, 'value', { signal });
    expect(await storage.metadata.get(key, { signal })).toMatchObject({ value: 'value' });
  });

  test('what is made again is for its user alone', async () => {
    for (const folder of ['blobs', 'metadata', 'quarantine', 'tmp']) take(folder);
    await put();
    const names = fs.readdirSync(directory, { recursive: true, encoding: 'utf8' });
    const folders = names.map((name) => fs.statSync(join(directory, name))).filter((stats) => stats.isDirectory());
    expect(new Set(folders.map(({ mode }) => mode & 0o777))).toEqual(new Set([0o700]));
  });
});

describe.each([
  ['emptied', () => fs.readdirSync(directory).forEach(take)],
  ['moved away', () => take('.')],
])('a folder in use that somebody %s', (_, end) => {
  const uses: Record<string, (storage: Storage) => Promise<unknown>> = {
    'a blob was put': ({ blobs }) => blobs.put({ digest, bytes, signal }),
    'a record was written': ({ metadata }) => metadata.set(key, 'value', { signal }),
    'a record of a known repository was written': ({ metadata }) => metadata.set(`${key}.1`, 'value', { signal }),
  };
  test.each(Object.entries(uses))('was refused at the next start after %s', async (_, use) => {
    const storage = fileStorage(directory, { durable: true });
    await storage.metadata.set(`${key}.2`, 'value', { signal });
    end();
    await use(storage);
    const before = fs.readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort();
    expect(before.filter((name) => name.startsWith('proxycache.json'))).toEqual(['proxycache.json']);
    expect(fs.statSync(join(directory, 'proxycache.json')).mode & 0o777).toBe(0o600);
    fileStorage(directory);
    expect(fs.readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()).toEqual(before);
  });
});

test('a folder that was emptied has its mark again before all else', async () => {
  const { metadata } = fileStorage(directory);
  fs.readdirSync(directory).forEach(take);
  fs.writeFileSync(join(directory, 'quarantine'), 'in the way');
  await expect(metadata.set(key, 'value', { signal })).rejects.toMatchObject({ code: 'storage-failed' });
  expect(fs.readFileSync(join(directory, 'proxycache.json'), 'utf8')).toBe('{"format":1}\n');
});

test('a file that is adopted and is not there is told as such', async () => {
  const file = join(directory, 'spool/spooled');
  const { blobs } = fileStorage(directory);
  await expect(blobs.adopt({ file, digest, size: bytes.byteLength, signal })).rejects.toMatchObject({
    code: 'storage-failed',
    message: expect.stringContaining('ENOENT'),
  });
});
