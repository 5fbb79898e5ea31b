import fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { digestHex, digestOf } from '../oci/digest.ts';
import { ownerName, thisOwner } from '../runtime/process-owner.ts';
import { fileStorage } from './file-storage.ts';

const signal = new AbortController().signal;
const bytes = Buffer.from('some content');
const digest = digestOf(bytes);
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'file-storage-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  return rm(directory, { recursive: true, force: true });
});

async function contentOf(storage: ReturnType<typeof fileStorage>): Promise<string | undefined> {
  const blob = await storage.blobs.open(digest, { signal });
  if (blob?.kind !== 'file') return undefined;
  const into = Buffer.alloc(blob.size);
  await blob.read(into, 0);
  await blob.close();
  return into.toString();
}

test('keeps blobs and records over a restart', async () => {
  const before = fileStorage(join(directory, 'new/folder'));
  await before.blobs.put({ digest, bytes, signal });
  await before.metadata.set('tag/hub/-/library%2Falpine/V1', 'value', { signal });
  const after = fileStorage(join(directory, 'new/folder'));
  expect(await contentOf(after)).toBe('some content');
  expect(await after.metadata.get('tag/hub/-/library%2Falpine/V1', { signal })).toMatchObject({ value: 'value' });
});

test('files blobs as an OCI image layout does', async () => {
  await fileStorage(directory).blobs.put({ digest, bytes, signal });
  expect(fs.readFileSync(join(directory, 'blobs/sha256', digestHex(digest)), 'utf8')).toBe('some content');
});

test('makes folders and files that only its user can read, and leaves a folder that was there as it is', async () => {
  fs.chmodSync(directory, 0o755);
  const root = join(directory, 'new');
  const storage = fileStorage(root);
  await storage.blobs.put({ digest, bytes, signal });
  await storage.metadata.set('tag/hub/-/library%2Falpine/V1', 'value', { signal });
  const made = fs.readdirSync(root, { recursive: true, encoding: 'utf8' }).map((name) => join(root, name));
  const modes = { folders: new Set<number>(), files: [] as number[] };
  for (const path of [root, ...made]) {
    const stats = fs.statSync(path);
    if (stats.isDirectory()) modes.folders.add(stats.mode & 0o777);
    else modes.files.push(stats.mode & 0o777);
  }
  // The mark of the format, a manifest, a record.
  expect(modes).toEqual({ folders: new Set([0o700]), files: [0o600, 0o600, 0o600] });
  fileStorage(directory);
  expect(fs.statSync(directory).mode & 0o777).toBe(0o755);
});

test.each([
  { durable: false, folders: ['.'] },
  { durable: true, folders: ['', '.', 'blobs', 'quarantine'] },
])('a loss of power after the first start left an empty mark, or none (durable: $durable)', ({ durable, folders }) => {
  const root = join(directory, 'new');
  const flushed: string[] = [];
  const { fsyncSync, renameSync } = fs;
  vi.spyOn(fs, 'fsyncSync').mockImplementation((fd) => {
    flushed.push(fs.readlinkSync(`/proc/self/fd/${fd}`));
    fsyncSync(fd);
  });
  vi.spyOn(fs, 'renameSync').mockImplementation((from, to) => {
    // What is put in place is on the disk by then.
    expect(flushed).toContain(from);
    flushed.push(String(to));
    renameSync(from, to);
  });
  fileStorage(root, { durable });
  const mark = flushed.indexOf(join(root, 'proxycache.json'));
  expect(flushed.indexOf(root, mark)).toBeGreaterThan(mark);
  expect(folders.filter((name) => !flushed.includes(name === '' ? directory : join(root, name)))).toEqual([]);
  if (!durable) expect(flushed).toHaveLength(3);
});

test('refuses a folder of a newer format and says what to do', () => {
  fs.writeFileSync(join(directory, 'proxycache.json'), '{"format":2}');
  expect(() => fileStorage(directory)).toThrow(/format 2.*up to 1: upgrade it, or choose another folder/);
  expect(() => fileStorage(directory)).toThrow(expect.objectContaining({ code: 'storage-format' }));
  expect(fs.readdirSync(directory)).toEqual(['proxycache.json']);
});

test.each(['', 'null', '{}', '{"format":0}', '{"format":"1"}', 'not json'])(
  'refuses the damaged format file %j',
  (text) => {
    fs.writeFileSync(join(directory, 'proxycache.json'), text);
    expect(() => fileStorage(directory)).toThrow(expect.objectContaining({ code: 'storage-format' }));
  },
);

test('refuses a folder that holds blobs of somebody else', () => {
  fs.mkdirSync(join(directory, 'blobs/sha256'), { recursive: true });
  expect(() => fileStorage(directory)).toThrow(/holds "blobs" but no proxycache.json/);
});

test('refuses a folder whose spool is of somebody else, not one with a spool that a cache in use made again', () => {
  const spool = join(directory, 'spool');
  fs.mkdirSync(join(spool, ownerName(thisOwner())), { recursive: true });
  fs.mkdirSync(join(spool, 'cron'));
  expect(() => fileStorage(directory)).toThrow(/holds "spool" but no proxycache.json/);
  fs.rmdirSync(join(spool, 'cron'));
  fileStorage(directory);
});

test('a folder that another process began with at the same instant was refused as not made by proxycache', () => {
  fileStorage(directory);
  fs.writeFileSync(join(directory, 'blobs', 'sha256', '0'.repeat(64)), 'x');
  // Looked for before the other one put it there, the mark was missing.
  const looked = vi.spyOn(fs, 'existsSync').mockReturnValueOnce(false);
  expect(() => fileStorage(directory)).not.toThrow();
  looked.mockRestore();
});

test('names the folder and the cause when it cannot be used', () => {
  fs.writeFileSync(join(directory, 'file'), '');
  expect(() => fileStorage(join(directory, 'file/storage'))).toThrow(
    expect.objectContaining({ code: 'storage-failed', message: expect.stringMatching(/file\/storage.*ENOTDIR/) }),
  );
  expect(() => fileStorage('')).toThrow(expect.objectContaining({ code: 'invalid-options' }));
});
