import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createProxyCache, fileStorage } from '@proxycache/core';
import { startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Grown, growStore } from './grow-store.ts';

// What a cache does must grow with what it is asked for, not with what it has stored. Counted: times would say little on
// a machine that does other work.
const large = { records: 100_000, blobs: 10_000 };

const program = fileURLToPath(new URL('./count-file-calls.mjs', import.meta.url));
const run = promisify(execFile);

let root: string;
let upstreamUrl: string;
let manifests: string[];
let grown: Grown;
let before: number;
const smallStore = () => join(root, 'small');
const largeStore = () => join(root, 'large');

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'scale-'));
  const upstream = await startFakeUpstream();
  const { digest } = upstream.addImage('team/app', { tag: '1' }).root;
  upstreamUrl = upstream.url;
  manifests = ['1', digest].map((reference) => `/v2/up/team/app/manifests/${reference}`);
  for (const folder of [smallStore(), largeStore()]) {
    const cache = createProxyCache({ upstreams: [{ key: 'up', url: upstreamUrl }], storage: fileStorage(folder) });
    for (const path of await imagePaths((of) => cache.fetch(new Request(`http://cache${of}`)))) {
      await (await cache.fetch(new Request(`http://cache${path}`))).arrayBuffer();
    }
    await cache.close();
  }
  await upstream.stop();
  before = (await blobsOf(smallStore())).length;
  grown = growStore(largeStore(), large);
}, 180_000);
// A program of its own takes a fifth of the time.
afterAll(() => void execFileSync('rm', ['-rf', root]), 180_000);

async function imagePaths(get: (path: string) => Promise<Response>): Promise<string[]> {
  const [byTag = ''] = manifests;
  const { config, layers } = (await (await get(byTag)).json()) as {
    config: { digest: string };
    layers: { digest: string }[];
  };
  return [config, ...layers].map(({ digest }) => `/v2/up/team/app/blobs/${digest}`);
}

async function blobsOf(folder: string): Promise<string[]> {
  const { signal } = new AbortController();
  const digests: string[] = [];
  for await (const { digest } of fileStorage(folder).blobs.digests({ signal })) digests.push(digest);
  return digests;
}

/** Does something with a cache on a store, in a process of its own. */
async function counted(folder: string, what: string, ...about: (string | number)[]) {
  const { stdout } = await run(process.execPath, [
    '--expose-gc',
    program,
    folder,
    upstreamUrl,
    what,
    ...about.map(String),
  ]);
  return JSON.parse(stdout) as { outcome: unknown; calls: Record<string, number> };
}

/** How often functions were called on parts of the store, of whatever name. */
function callsOn(calls: Record<string, number>, pattern: RegExp): number {
  return Object.entries(calls).reduce((sum, [call, times]) => sum + (pattern.test(call) ? times : 0), 0);
}

test('a start reads nothing of what is stored, however much that is', async () => {
  const { outcome, calls } = await counted(largeStore(), 'start');
  expect(outcome).toBe(200);
  expect(callsOn(calls, /^(?:open|opendir|readdir|readFile|lstat) (?:metadata|blobs|quarantine)/)).toBe(0);
  expect(calls).toEqual((await counted(smallStore(), 'start')).calls);
});

test('a pull of what is stored reads its own files, however many others there are', async () => {
  const { outcome, calls } = await counted(largeStore(), 'pull', ...manifests);
  expect(outcome).toEqual([200, 200]);
  // The tag, the proof of its manifest, and the manifest; by digest all of that is in memory.
  expect(callsOn(calls, /^readFile metadata\//)).toBe(2);
  expect(callsOn(calls, /^open blobs\//)).toBe(1);
  expect(calls).toEqual((await counted(smallStore(), 'pull', ...manifests)).calls);
});

test('a listing reads its folder once and each of its records once, in whatever pages', async () => {
  const { outcome, calls } = await counted(largeStore(), 'list', 'link/up/-/team%2Fnightly/', 100);
  expect(outcome).toBe(grown.nightlyLinks);
  expect(grown.nightlyLinks).toBeGreaterThan(4_000);
  expect(calls['readFile metadata/link']).toBe(outcome);
  expect(calls['opendir metadata/link']).toBe(1);
});

test('a listing over many folders reads none of them again for a further page', async () => {
  const { outcome, calls } = await counted(largeStore(), 'list', 'tag/', 500);
  expect(Number(outcome)).toBeGreaterThan(10_000);
  // tag/, up/, -/ and one of each repository.
  expect(calls['opendir metadata/tag']).toBe(3 + grown.repositories);
});

test('a scrub reads each blob once, and holds no more than a window of names', async () => {
  const { outcome, calls } = await counted(largeStore(), 'scrub', large.blobs, 5_000);
  expect(outcome).toMatchObject({ blobs: large.blobs + before, records: 5_000 });
  expect(calls['open blobs/sha256']).toBe(large.blobs + before);
  expect(calls['opendir blobs/sha256']).toBe(1);
  expect((outcome as { grownMiB: number }).grownMiB).toBeLessThan(24);
}, 120_000);
