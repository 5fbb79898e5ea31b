import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { keyPath } from './file-key-path.ts';
import { fileStorage } from './file-storage.ts';
import type { MetadataStore } from './metadata-store.ts';

const disk = vi.hoisted(() => ({
  beforeSync: async (): Promise<void> => undefined,
  failsWith: undefined as string | undefined,
}));
vi.mock('./file-system.ts', async (importOriginal) => {
  const real = await importOriginal<typeof import('./file-system.ts')>();
  const syncToDisk = async (path: string) => {
    await disk.beforeSync();
    await real.syncToDisk(path);
  };
  const readWhole = async (path: string) => {
    const code = path.includes('3.20') && disk.failsWith;
    if (code) throw Object.assign(new Error(`${code}: it failed, read`), { code });
    return await real.readWhole(path);
  };
  return { ...real, syncToDisk, readWhole };
});

const signal = new AbortController().signal;
const key = 'tag/hub/-/library%2Falpine/3.20';
let directory: string;
let metadata: MetadataStore;

beforeEach(async () => {
  directory = fs.mkdtempSync(join(tmpdir(), 'file-keyv-store-'));
  metadata = fileStorage(directory).metadata;
  await metadata.set(key, '{"digest":"sha256:…"}', { signal });
});
afterEach(() => {
  disk.beforeSync = async () => undefined;
  disk.failsWith = undefined;
  fs.rmSync(directory, { recursive: true });
});

const pathOf = (of: string) => join(directory, 'metadata', keyPath(of));

describe('a damaged file', () => {
  const damages: Record<string, (content: Buffer) => Buffer> = {
    empty: () => Buffer.alloc(0),
    'cut off': (content) => content.subarray(0, -1),
    'full of zeros': (content) => Buffer.alloc(content.length),
    'zeros at its end': (content) => Buffer.concat([content.subarray(0, -4), Buffer.alloc(4)]),
  };
  test.each(Object.entries(damages))(
    '%s is an error that names the key, until it is written anew',
    async (_, damage) => {
      fs.writeFileSync(pathOf(key), damage(fs.readFileSync(pathOf(key))));
      const failed = { code: 'storage-damaged', message: expect.stringContaining(key) };
      await expect(metadata.get(key, { signal })).rejects.toMatchObject(failed);
      await expect(metadata.getMany([key], { signal })).rejects.toMatchObject(failed);
      expect(await metadata.list('tag/', { limit: 10, signal })).toEqual([key]);
      await metadata.set(key, 'new', { signal });
      expect(await metadata.get(key, { signal })).toMatchObject({ value: 'new' });
    },
  );

  test('can be deleted', async () => {
    fs.writeFileSync(pathOf(key), '');
    expect(await metadata.delete(key, { signal })).toBe(true);
    expect(await metadata.get(key, { signal })).toBeUndefined();
  });
});

describe('a file that the disk does not give', () => {
  // The last two are EBADMSG and EUCLEAN.
  test.each(['EIO', 'EACCES', 'EPERM', 'Unknown system error -74', 'Unknown system error -117'])(
    'ended the listing of all others (%s), and is damaged until it is written anew',
    async (code) => {
      await metadata.set('tag/other', 'value', { signal });
      disk.failsWith = code;
      const failed = { code: 'storage-damaged', message: expect.stringContaining(`${key} cannot be read (${code}`) };
      await expect(metadata.get(key, { signal })).rejects.toMatchObject(failed);
      expect(await metadata.list('tag/', { limit: 10, signal })).toEqual([
        'tag/hub/-/library%2Falpine/3.20',
        'tag/other',
      ]);
      await metadata.set(key, 'new', { signal });
      disk.failsWith = undefined;
      expect(await metadata.get(key, { signal })).toMatchObject({ value: 'new' });
    },
  );

  test('can be deleted', async () => {
    disk.failsWith = 'EIO';
    expect(await metadata.delete(key, { signal })).toBe(true);
    expect(await metadata.list('tag/', { limit: 10, signal })).toEqual([]);
  });

  // The last one is ESTALE.
  test.each(['EMFILE', 'ENFILE', 'ETIMEDOUT', 'Unknown system error -116'])(
    'is a failure of the store where that is not about the file (%s)',
    async (code) => {
      disk.failsWith = code;
      await expect(metadata.get(key, { signal })).rejects.toMatchObject({ code: 'storage-failed' });
      await expect(metadata.list('tag/', { limit: 10, signal })).rejects.toMatchObject({ code: 'storage-failed' });
    },
  );
});

test('a folder in the place of a file is an error, and hides no other file', async () => {
  fs.mkdirSync(pathOf('a/b'), { recursive: true });
  await metadata.set('a/c', 'value', { signal });
  await expect(metadata.get('a/b', { signal })).rejects.toMatchObject({ code: 'storage-damaged' });
  expect(await metadata.list('a/', { limit: 10, signal })).toEqual(['a/b', 'a/c']);
  await expect(metadata.set('a/b', 'x', { signal })).rejects.toMatchObject({ code: 'storage-failed' });
  expect(fs.readdirSync(join(directory, 'tmp'))).toEqual([]);
});

test('folders go with their last key', async () => {
  expect(fs.existsSync(dirname(pathOf(key)))).toBe(true);
  await metadata.delete(key, { signal });
  expect(fs.readdirSync(join(directory, 'metadata'))).toEqual([]);
});

test('names differ in more than case, and none is too long for a file system', () => {
  const keys = ['tag/V1', 'tag/v1', `${'X'.repeat(255)}/${'%2F'.repeat(85)}/y`];
  const names = keys.flatMap((one) => keyPath(one).split('/'));
  expect(names.filter((name) => name !== name.toLowerCase() || name.length > 255)).toEqual([]);
  expect(new Set(keys.map(keyPath)).size).toBe(keys.length);
});

test('a value and a folder of one name do not meet on the disk', () => {
  expect(keyPath('a/b/c').startsWith(`${keyPath('a/b')}/`)).toBe(false);
});

test('is written beside and renamed: a reader of the old file sees the old value', async () => {
  const fd = fs.openSync(pathOf(key), 'r');
  const before = fs.fstatSync(fd).ino;
  await metadata.set(key, 'new', { signal });
  expect(fs.statSync(pathOf(key)).ino).not.toBe(before);
  expect(fs.readFileSync(fd, 'utf8')).toContain('{"digest"');
  fs.closeSync(fd);
});

test('what is written only if nothing is there leaves nothing behind where something is', async () => {
  const files = () => fs.readdirSync(join(directory, 'tmp'));
  expect(await metadata.set(key, 'new', { ifVersion: 'absent', signal })).toBe(false);
  expect(files()).toEqual([]);
  fs.writeFileSync(pathOf(key), 'damaged');
  await expect(metadata.set(key, 'new', { ifVersion: 'absent', signal })).rejects.toMatchObject({
    code: 'storage-damaged',
  });
  expect(files()).toEqual([]);
  expect(await metadata.set('tag/other', 'new', { ifVersion: 'absent', signal })).toBe(true);
  expect(files()).toEqual([]);
});

describe('with `durable`, where a delete removes the folder that is about to be synced', () => {
  const [one, other] = ['tag/hub/-/library%2Fbusybox/1', 'tag/hub/-/library%2Fbusybox/2'];
  let durable: MetadataStore;

  beforeEach(() => {
    durable = fileStorage(directory, { durable: true }).metadata;
  });

  /** Does it before each of the next syncs, but not before those of its own. */
  function beforeSyncs(times: number, work: () => Promise<unknown>): void {
    let left = times;
    let isDoing = false;
    disk.beforeSync = async () => {
      if (isDoing || left === 0) return;
      left--;
      isDoing = true;
      await work();
      isDoing = false;
    };
  }

  test('the delete of a neighbour failed', async () => {
    for (const key of [one, other]) await durable.set(key, 'value', { signal });
    beforeSyncs(1, () => durable.delete(other, { signal }));
    expect(await durable.delete(one, { signal })).toBe(true);
    expect(await durable.list('tag/', { limit: 10, signal })).toEqual([key]);
  });

  test.each([2, 3])('a write of a neighbour was lost (%i times in a row)', async (times) => {
    beforeSyncs(times, async () => {
      await durable.set(other, 'value', { signal });
      await durable.delete(other, { signal });
    });
    await durable.set(one, 'value', { signal });
    expect(await durable.get(one, { signal })).toMatchObject({ value: 'value' });
  });

  test('a write failed whose record was deleted at once', async () => {
    await durable.set(other, 'value', { signal });
    await durable.delete(other, { signal });
    await durable.set(one, 'old', { signal });
    beforeSyncs(1, () => fileStorage(directory).metadata.delete(one, { signal }));
    await durable.set(one, 'new', { signal });
    expect(await durable.get(one, { signal })).toBeUndefined();
  });
});
