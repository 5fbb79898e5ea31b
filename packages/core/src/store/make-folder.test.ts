import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeFolder, makeFolderNow } from './make-folder.ts';

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'make-folder-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  fs.rmSync(directory, { recursive: true, force: true });
});

const modeOf = (path: string) => fs.statSync(path).mode & 0o777;

describe.each([
  ['step by step', makeFolder],
  ['at once', async (...how: Parameters<typeof makeFolderNow>) => makeFolderNow(...how)],
])('a folder that is made %s', (_, make) => {
  test('is for its user alone, as those above it are, and what is there stays as it is', async () => {
    fs.chmodSync(directory, 0o755);
    await make(join(directory, 'a/b'));
    await make(directory);
    expect([directory, join(directory, 'a'), join(directory, 'a/b')].map(modeOf)).toEqual([0o755, 0o700, 0o700]);
  });

  test('is made where a link leads', async () => {
    fs.symlinkSync(directory, join(directory, 'link'));
    await make(join(directory, 'link/a'));
    expect(fs.existsSync(join(directory, 'a'))).toBe(true);
  });

  test('is refused with what is in the way', async () => {
    fs.writeFileSync(join(directory, 'file'), '');
    fs.symlinkSync(join(directory, 'nowhere'), join(directory, 'dangling'));
    await expect(make(join(directory, 'file'))).rejects.toThrow('EEXIST');
    await expect(make(join(directory, 'file/a'))).rejects.toThrow(/EEXIST|ENOTDIR/);
    await expect(make(join(directory, 'dangling'))).rejects.toThrow('EEXIST');
  });

  test('is refused with the name of the one that takes none, where the recursive mkdir of Node never ends', async () => {
    await expect(make('/proc/x/y')).rejects.toThrow('/proc takes no folders (ENOENT)');
  });
});

test('many make one folder at the same time', async () => {
  await Promise.all(Array.from({ length: 20 }, () => makeFolder(join(directory, 'a/b/c'))));
  expect(fs.readdirSync(directory, { recursive: true })).toEqual(['a', 'a/b', 'a/b/c']);
});

test('takes a folder that another process made meanwhile', () => {
  const real = fs.mkdirSync;
  vi.spyOn(fs, 'mkdirSync').mockImplementation((path, options) => {
    real(path, options);
    return real(path, options);
  });
  makeFolderNow(join(directory, 'a'));
  expect(fs.readdirSync(directory)).toEqual(['a']);
});

test('makes those above it again that another process removed meanwhile', () => {
  const real = fs.mkdirSync;
  let removed = 0;
  vi.spyOn(fs, 'mkdirSync').mockImplementation((path, options) => {
    if (path === join(directory, 'a/b') && fs.existsSync(join(directory, 'a')) && removed++ < 3) {
      fs.rmdirSync(join(directory, 'a'));
    }
    return real(path, options);
  });
  makeFolderNow(join(directory, 'a/b'));
  expect(fs.readdirSync(join(directory, 'a'))).toEqual(['b']);
});
