import { join } from 'node:path';
import {
  type BlobStore,
  type HttpRequest,
  type HttpResponse,
  isWhole,
  type ProxyCacheOptions,
  type Storage,
} from '@proxycache/core';
import { type FlakyStorage, flakyStore, gate, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { flipByte } from '../faults/rot.ts';
import { digestOfBody, startPair } from './cache-under-test.ts';
import { as, authenticate } from './callers.ts';

const KiB = 1024;
const pathOf = (digest: string, repository = 'team/app') => `/v2/up/${repository}/blobs/${digest}`;

type Made = {
  cache?: Partial<ProxyCacheOptions>;
  wrap?: (blobs: BlobStore) => BlobStore;
  headers?: Record<string, string>;
  linkValidFor?: '1m';
};

/** A cache whose store has a blob. */
async function startStored({ cache: options = {}, wrap, headers = {}, ...upstreamOptions }: Made = {}) {
  let storage: FlakyStorage | undefined;
  const wrapStorage = (given: Storage) => {
    storage ??= flakyStore({ ...given, blobs: wrap?.(given.blobs) ?? given.blobs });
    return storage;
  };
  const { upstream, cache } = await startPair({ cache: options, mount: { wrapStorage }, ...upstreamOptions });
  const bytes = Buffer.from(seededBytes('kept', 100 * KiB));
  const digest = upstream.putBlob('team/app', bytes);
  const path = pathOf(digest);
  const pull = async () => (await cache.get(path, { headers })).body;
  await pull();
  await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored' }]);
  return { upstream, cache, storage: storage!, bytes, digest, path, pull };
}

/** The same, of which the blob was pulled so often that memory has it, too. */
async function startKept(made: Made = {}) {
  const started = await startStored(made);
  const { upstream, cache, storage, digest, pull } = started;
  await expect
    .poll(async () => {
      const before = storage.bytesRead();
      expect(digestOfBody(await pull())).toBe(digest);
      await cache.clock.advance(1_000);
      return storage.bytesRead() - before;
    })
    .toBe(0);
  upstream.clear();
  cache.events.length = 0;
  return started;
}

function requestOf(
  url: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> },
) {
  return {
    method,
    url,
    basePath: '',
    headers: { get: (name: string) => headers[name] ?? null },
    signal: new AbortController().signal,
    body: async () => new Uint8Array(),
  } satisfies HttpRequest;
}

/** All that a client gets of an answer, byte for byte and in order. */
async function told({ status, headers, body }: HttpResponse) {
  let text = '';
  if (body instanceof Uint8Array) text = Buffer.from(body).toString('latin1');
  else for await (const chunk of body ?? []) text += Buffer.from(chunk).toString('latin1');
  return { status, headers: Object.entries(headers), text };
}

describe('a small blob that is pulled again and again', () => {
  test('is read from the store twice, and from then on the store is asked once a second whether it is there', async () => {
    const { upstream, cache, storage, digest, pull } = await startKept();
    const [asked, read] = [storage.calls('blobs.open'), storage.bytesRead()];
    for (let second = 1; second <= 3; second++) {
      for (let i = 0; i < 5; i++) expect(digestOfBody(await pull())).toBe(digest);
      expect([storage.calls('blobs.open') - asked, storage.bytesRead() - read, storage.openBlobs()]).toEqual([
        second,
        0,
        0,
      ]);
      await cache.clock.advance(1_000);
    }
    expect(upstream.count()).toBe(0);
  });

  test('is answered at once as it would be otherwise, byte for byte, and told the same', async () => {
    const { cache, path, pull } = await startKept({ cache: { defaultUpstream: 'up' } });
    const counts = { fast: 0, slow: 0 };
    const urls = [
      path,
      path.replace('/up/', '/'),
      `${path}?ns=docker.io`,
      `${path}?x=1`,
      path.replace('team', 'te%61m'),
    ];
    const conditions = [
      {},
      { range: 'bytes=0-9' },
      { 'if-none-match': '*' },
      { 'if-none-match': '"else"' },
      { host: 'a.example' },
    ];
    for (const url of [...urls, pathOf('sha256:1'), pathOf(`sha256:${'0'.repeat(64)}`)]) {
      for (const method of ['GET', 'HEAD', 'DELETE']) {
        for (const headers of conditions) {
          // So that memory is asked whether it may answer, too.
          await pull();
          cache.events.length = 0;
          const request = requestOf(url, { method, headers });
          const fast = cache.cache.handle.fromMemory?.(request);
          counts[fast ? 'fast' : 'slow']++;
          if (!fast) {
            expect(cache.events).toEqual([]);
            continue;
          }
          const got = await told(fast);
          const events = cache.events.splice(0);
          expect(got).toEqual(await told((await cache.cache.handle(request))!));
          expect(events).toEqual(cache.events);
          expect(events.map(({ type }) => type)).toEqual(['request', 'response-ended']);
        }
      }
    }
    expect(counts.fast).toBeGreaterThan(5);
    expect(counts.slow).toBeGreaterThan(50);
  });

  test('is not given to a repository that did not prove to hold it, nor without a proof that still holds', async () => {
    const { upstream, cache, digest, path, pull } = await startKept({ linkValidFor: '1m' });
    await pull();
    expect((await cache.get(pathOf(digest, 'other/app'))).status).toBe(404);
    expect(cache.cache.handle.fromMemory?.(requestOf(pathOf(digest, 'other/app'), {}))).toBeUndefined();
    await cache.clock.advance(60_000);
    await pull();
    expect(upstream.count({ path: /\/team\/app\// })).toBe(1);
    upstream.removeBlob('team/app', digest);
    await cache.clock.advance(60_001);
    expect(cache.cache.handle.fromMemory?.(requestOf(path, {}))).toBeUndefined();
    expect((await cache.get(path)).status).toBe(404);
  });

  test('is not there any more once it was purged', async () => {
    const { upstream, cache, path, pull } = await startKept();
    await pull();
    await cache.cache.purge({ upstream: 'up' });
    upstream.clear();
    expect(cache.cache.handle.fromMemory?.(requestOf(path, {}))).toBeUndefined();
    await upstream.stop();
    expect((await cache.get(path)).status).toBe(502);
  });

  test('is served while the store and the upstream are both away', async () => {
    const { upstream, cache, storage, digest, pull } = await startKept();
    await upstream.stop();
    for (const trouble of [{ fail: 'EIO' }, { fail: 'EMFILE' }]) {
      storage.on('blobs.open', trouble);
      storage.on('blobs.read', trouble);
      for (let i = 0; i < 3; i++) {
        expect(digestOfBody(await pull())).toBe(digest);
        await cache.clock.advance(1_000);
      }
    }
    expect(cache.seen('store-failed').map(({ operation }) => operation)).toContain('open');
  });

  test('is not kept where the host wants none', async () => {
    const { cache, storage, digest, pull } = await startStored({ cache: { memory: { blobs: 0 } } });
    const before = storage.bytesRead();
    for (let i = 1; i <= 4; i++) {
      expect(digestOfBody(await pull())).toBe(digest);
      await cache.clock.advance(1_000);
      expect(storage.bytesRead() - before).toBe(i * 100 * KiB);
    }
  });

  test('is served so from a store that gives streams, too, of which one copy is made however many read it', async () => {
    let read = 0;
    const held = gate();
    const wrap = (blobs: BlobStore): BlobStore => ({
      ...blobs,
      async open(digest, options) {
        const blob = await blobs.open(digest, options);
        if (blob?.kind !== 'file') return blob;
        const { size, read: readAt, close } = blob;
        async function* body() {
          for (let at = 0; at < size; at += 10_000) {
            const chunk = Buffer.alloc(Math.min(10_000, size - at));
            const length = await readAt(chunk, at);
            read += length;
            yield chunk;
            if (at > 0) await held.pass();
          }
        }
        return { kind: 'stream', size, body: body(), close };
      },
    });
    const { upstream, cache, digest } = await startStored({ wrap });
    const pull = async () => digestOfBody((await cache.get(pathOf(digest))).body);
    const first = pull();
    const many = Array.from({ length: 10 }, pull);
    await expect.poll(() => read).toBeGreaterThanOrEqual(11 * 20_000);
    held.open();
    for (const got of await Promise.all([first, ...many])) expect(got).toBe(digest);
    await expect
      .poll(() => pull().then(() => cache.cache.handle.fromMemory?.(requestOf(pathOf(digest), {}))))
      .toBeDefined();
    const before = read;
    for (let i = 0; i < 3; i++) expect(await pull()).toBe(digest);
    expect([read - before, upstream.count({ method: 'GET' })]).toEqual([0, 1]);
  });
});

test('a small blob that rotted on the disk is found out by its second pull, and never kept', async () => {
  const { upstream, cache } = await startPair();
  const bytes = Buffer.from(seededBytes('rots', 100 * KiB));
  const digest = upstream.putBlob('team/app', bytes);
  await cache.get(pathOf(digest));
  await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored' }]);
  const file = join(cache.directory, 'blobs', 'sha256', digest.slice('sha256:'.length));
  flipByte(file, 50);
  await cache.get(pathOf(digest));
  await cache.get(pathOf(digest));
  await expect.poll(() => cache.seen('blob-quarantined')).toMatchObject([{ digest, reason: 'wrong-bytes' }]);
  for (let i = 0; i < 5; i++) expect(digestOfBody((await cache.get(pathOf(digest))).body)).toBe(digest);
  expect(upstream.count({ method: 'GET' })).toBe(2);
});

test('who may not pull gets nothing from memory, and each who may is audited with what he got', async () => {
  const { cache, path, bytes } = await startKept({
    headers: as('ann').headers,
    cache: {
      access: {
        authenticate,
        authorize: ({ identity }) => identity?.name !== 'eve' || { allow: false, reason: 'not for eve' },
      },
    },
  });
  await cache.get(path, as('ann'));
  cache.events.length = 0;
  expect(cache.cache.handle.fromMemory?.(requestOf(path, as('eve')))).toBeUndefined();
  expect((await cache.get(path, as('eve'))).status).toBe(403);
  expect((await cache.get(path, as('ann'))).body.equals(bytes)).toBe(true);
  await expect
    .poll(() =>
      cache.seen('pull').map(({ identity, status, bytes, complete }) => ({ identity, status, bytes, complete })),
    )
    .toMatchObject([
      { identity: 'eve', status: 403 },
      { identity: 'ann', status: 200, bytes: bytes.byteLength, complete: true },
    ]);
});

test('what memory and short files give is a body in one piece, which is closed when it was sent', async () => {
  const { cache, storage, path } = await startStored();
  for (const isKept of [false, false, true]) {
    const response = await cache.cache.handle(requestOf(path, {}));
    const body = response?.body ?? null;
    if (body === null || !isWhole(body)) throw new Error('the body is not here in one piece');
    const { bytes, over } = body.takeWhole();
    expect([bytes.byteLength, storage.openBlobs()]).toEqual([100 * KiB, isKept ? 0 : 1]);
    over(true);
    // The next one opens it anew.
    await expect
      .poll(() => cache.clock.advance(1_000).then(() => [cache.seen('response-ended').at(-1), storage.openBlobs()]))
      .toMatchObject([{ bytes: 100 * KiB, complete: true }, 0]);
  }
});
