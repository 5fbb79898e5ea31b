import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { makeFolder } from './make-folder.ts';

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'make-folder-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  fs.rmSync(directory, { recursive: true, force: true });
});

const modeOf = (path: string) => fs.statSync(path).mode & 0o777;

test('makes what is missing for its user alone, and leaves what is there as it is', () => {
  fs.chmodSync(directory, 0o755);
  makeFolder(join(directory, 'a/b'));
  makeFolder(directory);
  expect([directory, join(directory, 'a'), join(directory, 'a/b')].map(modeOf)).toEqual([0o755, 0o700, 0o700]);
});

test('follows a link to a folder', () => {
  fs.symlinkSync(directory, join(directory, 'link'));
  makeFolder(join(directory, 'link/a'));
  expect(fs.existsSync(join(directory, 'a'))).toBe(true);
});

test('says what is in the way', () => {
  fs.writeFileSync(join(directory, 'file'), '');
  fs.symlinkSync(join(directory, 'nowhere'), join(directory, 'dangling'));
  expect(() => makeFolder(join(directory, 'file'))).toThrow('EEXIST');
  expect(() => makeFolder(join(directory, 'file/a'))).toThrow(/EEXIST|ENOTDIR/);
  expect(() => makeFolder(join(directory, 'dangling'))).toThrow('EEXIST');
});

test('ends with the name of a folder that takes none, as /proc, where the recursive mkdir of Node never ends', () => {
  const real = fs.mkdirSync;
  vi.spyOn(fs, 'mkdirSync').mockImplementation((path, options) => {
    if (String(path).startsWith(directory)) {
      throw Object.assign(new Error('ENOENT: no such file or directory'), { code: 'ENOENT' });
    }
    return real(path, options);
  });
  expect(() => makeFolder(join(directory, 'x/y'))).toThrow(`${directory} takes no folders (ENOENT)`);
});

test('takes a folder that another process made meanwhile', () => {
  const real = fs.mkdirSync;
  vi.spyOn(fs, 'mkdirSync').mockImplementation((path, options) => {
    real(path, options);
    return real(path, options);
  });
  makeFolder(join(directory, 'a'));
  expect(fs.readdirSync(directory)).toEqual(['a']);
});
