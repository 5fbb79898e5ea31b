import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fileStorage } from './file-storage.ts';
import { fileBlobs } from './local-blobs.ts';
import { memoryStorage } from './memory-storage.ts';
import { tiered } from './tiered.ts';
import { createUpkeep, withUpkeep } from './upkeep.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'upkeep-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const at = (name: string) => join(directory, name);
const marks = ['records', 'local', 'remote'].map((name) => join(name, 'proxycache.json'));

test('keeps up each folder of a storage, of tiers too, that has another one’s records', async () => {
  const tiers = { local: fileBlobs(at('local'), { maxBytes: 1e9 }), remote: fileStorage(at('remote')).blobs };
  const upkeep = createUpkeep({ ...fileStorage(at('records')), blobs: tiered(tiers) });
  for (const mark of marks) rmSync(at(mark));
  await upkeep();
  expect(marks.filter((mark) => existsSync(at(mark)))).toEqual(marks);
});

test('does nothing where nothing is missing, or where there is no folder any more', async () => {
  const upkeep = createUpkeep(fileStorage(at('records')));
  const before = readdirSync(directory, { recursive: true });
  await upkeep();
  expect(readdirSync(directory, { recursive: true })).toEqual(before);
  rmSync(at('records'), { recursive: true });
  await upkeep();
  expect(readdirSync(directory)).toEqual([]);
});

test('runs once at a time, and again when it has failed', async () => {
  let runs = 0;
  const fails = async () => {
    runs++;
    throw new Error('away');
  };
  const { metadata, ...storage } = memoryStorage();
  const upkeep = createUpkeep({ ...storage, metadata: withUpkeep(metadata, [fails]) });
  await Promise.all([upkeep(), upkeep()]);
  expect(runs).toBe(1);
  await upkeep();
  expect(runs).toBe(2);
});
