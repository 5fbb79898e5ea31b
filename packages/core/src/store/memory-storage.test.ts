import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { memoryStorage } from './memory-storage.ts';

const signal = new AbortController().signal;

test('takes spooled files into memory', async () => {
  const { blobs, spoolDirectory } = memoryStorage();
  expect(statSync(spoolDirectory).isDirectory()).toBe(true);
  const file = join(spoolDirectory, 'spooled');
  writeFileSync(file, 'content');
  const digest = digestOf(Buffer.from('content'));
  await blobs.adopt({ file, digest, size: 7, signal });
  expect(existsSync(file)).toBe(false);
  expect(await blobs.open(digest, { signal })).toMatchObject({ kind: 'file', size: 7 });
  rmSync(spoolDirectory, { recursive: true });
});

test('gives each storage a spool folder of its own', () => {
  const folders = [memoryStorage(), memoryStorage()].map((storage) => storage.spoolDirectory);
  expect(new Set(folders).size).toBe(2);
  for (const folder of folders) rmSync(folder, { recursive: true });
});

test('leaves no folder behind when its process exits', () => {
  const built = new URL('../../dist/index.js', import.meta.url).href;
  const script = `
    import { writeFileSync } from 'node:fs';
    import { memoryStorage } from ${JSON.stringify(built)};
    const folders = [memoryStorage(), memoryStorage()].map(({ spoolDirectory }) => spoolDirectory);
    writeFileSync(folders[0] + '/left', 'of a transfer that was cut off');
    console.log(JSON.stringify(folders));`;
  const told = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  const folders: string[] = JSON.parse(told);
  expect(folders).toHaveLength(2);
  expect(folders.filter((folder) => existsSync(folder))).toEqual([]);
});
