import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualClock } from '@proxycache/test-kit';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { digestHex, digestOf } from '../oci/digest.ts';
import type { BlobStore } from './blob-store.ts';
import { fileStorage } from './file-storage.ts';

const meanwhile = vi.hoisted(() => ({ judged: (): void => undefined, moved: (): void => undefined }));
vi.mock('./file-system.ts', async (importOriginal) => {
  const real = await importOriginal<typeof import('./file-system.ts')>();
  const once = (step: keyof typeof meanwhile) => {
    const act = meanwhile[step];
    meanwhile[step] = () => undefined;
    act();
  };
  const statFile = (path: string) => real.statFile(path).finally(() => once('judged'));
  const renameFile = (from: string, to: string) => real.renameFile(from, to).finally(() => once('moved'));
  return { ...real, statFile, renameFile };
});

const { signal } = new AbortController();
const right = Buffer.from('right');
const digest = digestOf(right);
let directory: string;
let path: string;
let blobs: BlobStore;

beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'file-take-'));
  path = join(directory, 'blobs/sha256', digestHex(digest));
  blobs = fileStorage(directory, { clock: manualClock() }).blobs;
  fs.writeFileSync(path, 'wrong');
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

/** As another process stores it: another file by the same name. */
function store(bytes: string | Buffer): void {
  const file = join(directory, 'spool/of-another-process');
  fs.writeFileSync(file, bytes);
  fs.renameSync(file, path);
}

const left = () =>
  ['quarantine/sha256', 'tmp'].flatMap((folder) =>
    fs.readdirSync(join(directory, folder)).map((name) => fs.readFileSync(join(directory, folder, name), 'utf8')),
  );

test.each(['quarantine', 'delete'] as const)(
  'a good blob that another process stores between the look and the rename stays (%s)',
  async (operation) => {
    meanwhile.judged = () => store(right);
    expect(await blobs[operation](digest, { signal })).toBe(false);
    expect(fs.readFileSync(path, 'utf8')).toBe('right');
    expect(left()).toEqual([]);
  },
);

test.each(['quarantine', 'delete'] as const)(
  'so does one that comes while another is being put back (%s)',
  async (operation) => {
    meanwhile.judged = () => store('newer');
    meanwhile.moved = () => store(right);
    expect(await blobs[operation](digest, { signal })).toBe(false);
    expect(fs.readFileSync(path, 'utf8')).toBe('right');
    expect(left()).toEqual([]);
  },
);

test('what was judged goes, and a folder too', async () => {
  expect(await blobs.delete(digest, { signal })).toBe(true);
  expect([fs.existsSync(path), left()]).toEqual([false, []]);
  fs.writeFileSync(path, 'wrong');
  expect(await blobs.quarantine(digest, { signal })).toBe(true);
  expect([fs.existsSync(path), left()]).toEqual([false, ['wrong']]);
});
