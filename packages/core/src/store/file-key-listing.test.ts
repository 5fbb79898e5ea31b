import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { fileStorage } from './file-storage.ts';
import type { MetadataStore } from './metadata-store.ts';

const { signal } = new AbortController();
const reads = vi.hoisted(() => ({ folders: 0 }));

vi.mock('node:fs/promises', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:fs/promises')>();
  const opendir: typeof original.opendir = (...of) => {
    reads.folders++;
    return original.opendir(...of);
  };
  return { ...original, opendir };
});

let directory: string;
let metadata: MetadataStore;

beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'file-key-listing-'));
  metadata = fileStorage(directory).metadata;
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

const set = (key: string) => metadata.set(key, 'x', { signal });
const numbered = (at: number) => String(at).padStart(5, '0');

async function setMany(keys: readonly string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += 32) await Promise.all(keys.slice(at, at + 32).map(set));
}

async function pages(prefix: string, limit: number, between: (page: readonly string[]) => Promise<void>) {
  const keys: string[] = [];
  for (;;) {
    const after = keys.at(-1);
    const page = await metadata.list(prefix, { limit, signal, ...(after !== undefined && { after }) });
    keys.push(...page);
    if (page.length < limit) return keys;
    await between(page);
  }
}

const nothing = async () => undefined;

test('reads each folder once, however many pages it is listed in', async () => {
  const keys = Array.from({ length: 300 }, (_, at) => `tag/hub/${numbered(at % 6)}/${numbered(at)}`).sort();
  await setMany(keys);
  reads.folders = 0;
  expect(await pages('tag/', 7, nothing)).toEqual(keys);
  // tag/, hub/ and the six in it.
  expect(reads.folders).toBe(8);
});

test('reads the folder anew for a page that begins elsewhere than the last one ended', async () => {
  await setMany(['a/1', 'a/2', 'a/3', 'a/4']);
  expect(await metadata.list('a/', { limit: 2, signal })).toEqual(['a/1', 'a/2']);
  expect(await metadata.list('a/', { after: 'a/1', limit: 2, signal })).toEqual(['a/2', 'a/3']);
  expect(await metadata.list('a/', { after: 'a/2', limit: 5, signal })).toEqual(['a/3', 'a/4']);
  expect(await metadata.list('', { after: 'a/2', limit: 5, signal })).toEqual(['a/3', 'a/4']);
});

test('lists in the next page what was set since the last one', async () => {
  await setMany(Array.from({ length: 40 }, (_, at) => `a/${numbered(at * 10)}`));
  const added: string[] = [];
  const keys = await pages('a/', 4, async (page) => {
    const last = Number(page.at(-1)?.slice(2));
    if (last > 200) return;
    const next = [last + 1, last + 15, last + 400].map((at) => `a/${numbered(at)}`);
    added.push(...next);
    // One of them before what was listed already, one over what is there, and one outside.
    await setMany([...next, `a/${numbered(last - 1)}`, `a/${numbered(last + 20)}`, `b/${numbered(last)}`]);
  });
  expect(keys).toEqual([...new Set(keys)].sort());
  expect(added.filter((key) => !keys.includes(key))).toEqual([]);
});

test('lists what was set in folders that came since the last page', async () => {
  await setMany(['a/1/x', 'a/1/y', 'a/5/x']);
  const added = ['a/1/z', 'a/3/x', 'a/5/y', 'a/9/x'];
  const keys = await pages('a/', 2, (page) => (page[0] === 'a/1/x' ? setMany(added) : nothing()));
  expect(keys).toEqual(['a/1/x', 'a/1/y', 'a/1/z', 'a/3/x', 'a/5/x', 'a/5/y', 'a/9/x']);
});

test('begins anew where more was set since the last page than is remembered', async () => {
  await setMany(['a/00000', 'a/99999']);
  const added = Array.from({ length: 1_500 }, (_, at) => `a/${numbered(at + 1)}`);
  const keys = await pages('a/', 1_000, nothing);
  expect(keys).toHaveLength(2);
  const first = await metadata.list('a/', { limit: 1, signal });
  await setMany(added);
  reads.folders = 0;
  expect(await metadata.list('a/', { after: first.at(-1) ?? '', limit: 2_000, signal })).toEqual([...added, 'a/99999']);
  expect(reads.folders).toBe(1);
});

test('lists no key that was deleted since the last page, nor the rest of a folder that went with it', async () => {
  await setMany(['a/1/x', 'a/1/y', 'a/2/x', 'a/3/x', 'b/1']);
  const gone = ['a/1/y', 'a/2/x', 'a/3/x'];
  const keys = await pages('', 1, async (page) => {
    if (page[0] === 'a/1/x') for (const key of gone) await metadata.delete(key, { signal });
  });
  expect(keys).toEqual(['a/1/x', 'b/1']);
});

test('gives each of two listings that go on from one place the same keys', async () => {
  const keys = Array.from({ length: 20 }, (_, at) => `a/${numbered(at)}`);
  await setMany(keys);
  await metadata.list('a/', { limit: 5, signal });
  const next = { after: 'a/00004', limit: 15, signal };
  const [one, other] = await Promise.all([metadata.list('a/', next), metadata.list('a/', next)]);
  expect(one).toEqual(keys.slice(5));
  expect(other).toEqual(keys.slice(5));
});

test('goes on after a page whose caller left', async () => {
  const keys = Array.from({ length: 20 }, (_, at) => `a/${numbered(at)}`);
  await setMany(keys);
  await metadata.list('a/', { limit: 5, signal });
  const left = new AbortController();
  const page = metadata.list('a/', { after: 'a/00004', limit: 5, signal: left.signal });
  left.abort(new Error('left'));
  await expect(page).rejects.toThrow('left');
  expect(await metadata.list('a/', { after: 'a/00004', limit: 15, signal })).toEqual(keys.slice(5));
});

test('orders names that go on in another folder as all others', async () => {
  const long = (end: string) => `${'x'.repeat(239)}${end}`;
  const keys = ['A', 'Ab', '~', '_'].flatMap((end) => [long(end), `${long(`${end}z`)}/1`]);
  const ordered = [long('Ab'), `${long('Abz')}/1`, `${long('Az')}/1`, long('A')].sort();
  const all = [...new Set([...keys, ...ordered, long(''), 'a', 'y'])];
  await setMany(all);
  const order = (key: string) => key.replaceAll('/', '\0');
  const expected = [...all].sort((a, b) => (order(a) < order(b) ? -1 : 1));
  expect(await metadata.list('', { limit: 100, signal })).toEqual(expected);
  for (const [at, after] of expected.entries()) {
    expect(await metadata.list('', { after, limit: 100, signal })).toEqual(expected.slice(at + 1));
  }
});
