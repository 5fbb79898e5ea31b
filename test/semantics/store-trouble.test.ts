import { memoryStorage } from '@proxycache/core';
import { flakyStore, type StoreOperation, type Trouble } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startPair } from './cache-under-test.ts';
import { patient } from './patient.ts';
import { type PulledImage, pullImage } from './pull-image.ts';

const at = { path: '/v2/up/team/app', tag: '1' };
const byTag = '/v2/up/team/app/manifests/1';

async function start() {
  const storage = flakyStore(memoryStorage());
  const pair = await startPair({ ...patient, cache: { storage } });
  return { ...pair, storage };
}

/** What the promise comes to, while the clock runs on. */
async function whileTimePasses<T>(cache: CacheUnderTest, promise: Promise<T>): Promise<{ value: T; tookMs: number }> {
  const startedAt = cache.clock.monotonic();
  let done: { value: T } | undefined;
  promise.then(
    (value) => {
      done = { value };
    },
    () => undefined,
  );
  const later = async () => {
    if (!done) await cache.clock.advance(250);
    return done !== undefined;
  };
  await expect.poll(later, { interval: 2, timeout: 15_000 }).toBe(true);
  return { value: await promise, tookMs: cache.clock.monotonic() - startedAt };
}

const metadata = ['get', 'getMany', 'set', 'delete', 'list'] as const;
const troubles: readonly [string, Trouble][] = [
  ['throws', { fail: 'disk gone' }],
  ['hangs', { hang: true }],
  ['hangs and hears no signal', { hang: 'deaf' }],
];
const operations: readonly (readonly StoreOperation[])[] = [
  ...metadata.map((operation) => [`metadata.${operation}`] as const),
  metadata.map((operation) => `metadata.${operation}` as const),
  ['blobs.open'],
  ['blobs.put'],
  ['blobs.read'],
  ['blobs.delete'],
];
const rows = operations.flatMap((set) =>
  troubles.map(([what, trouble]) => [set.join(', '), what, set, trouble] as const),
);

function expectWhole(pulled: PulledImage, digest: string): void {
  expect({ status: pulled.status, digest: pulled.digest, pieces: pulled.content.size }).toEqual({
    status: 200,
    digest,
    pieces: 4,
  });
}

describe.each(rows)('a store whose %s %s', (_operations, _what, set, trouble) => {
  const breakStore = (storage: ReturnType<typeof flakyStore>) => {
    for (const operation of set) storage.on(operation, trouble);
  };

  test('costs no pull of what is not here', async () => {
    const { upstream, cache, storage } = await start();
    const image = upstream.addImage('team/app', { tag: '1' });
    breakStore(storage);
    const { value } = await whileTimePasses(cache, pullImage(cache, at, 'get-by-tag'));
    expectWhole(value, image.root.digest);
    const again = await whileTimePasses(cache, pullImage(cache, at));
    expectWhole(again.value, image.root.digest);
    storage.heal();
  });

  test('costs no pull of what is here, changed or not, after a restart too', async () => {
    const { upstream, cache, storage } = await start();
    const image = upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    breakStore(storage);
    expectWhole((await whileTimePasses(cache, pullImage(cache, at))).value, image.root.digest);
    await whileTimePasses(cache, cache.restart());
    expectWhole((await whileTimePasses(cache, pullImage(cache, at))).value, image.root.digest);
    const changed = upstream.addImage('team/app', { tag: '1', seed: 'new' });
    expectWhole((await whileTimePasses(cache, pullImage(cache, at))).value, changed.root.digest);
    storage.heal();
  });

  test('makes of a no no yes', async () => {
    const { upstream, cache, storage } = await start();
    upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    breakStore(storage);
    upstream.removeTag('team/app', '1');
    for (let i = 0; i < 2; i++) {
      const gone = await whileTimePasses(cache, cache.get(byTag));
      expect([gone.value.status, gone.value.errorCode]).toEqual([404, 'MANIFEST_UNKNOWN']);
    }
    upstream.on({}, { status: 403 });
    expect((await whileTimePasses(cache, cache.get(byTag))).value.status).toBe(403);
    storage.heal();
  });
});

describe('a metadata store that hangs', () => {
  test('is waited for once, not by every pull', async () => {
    const { upstream, cache, storage } = await start();
    for (const tag of ['1', '2', '3']) upstream.addImage('team/app', { tag });
    for (const operation of metadata) storage.on(`metadata.${operation}`, { hang: 'deaf' });
    const first = await whileTimePasses(cache, cache.get(byTag));
    expect(first.value.status).toBe(200);
    expect(first.tookMs).toBeLessThanOrEqual(10_000);
    // No time passes now.
    const next = await Promise.all(['2', '3'].map((tag) => cache.get(`/v2/up/team/app/manifests/${tag}`)));
    expect(next.map(({ status }) => status)).toEqual([200, 200]);
    expect(cache.seen('store-failed').length).toBeGreaterThan(0);
    storage.heal();
  });

  test('still serves what this process holds while the upstream is down, too', async () => {
    const { upstream, cache, storage } = await start();
    const image = upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    for (const operation of metadata) storage.on(`metadata.${operation}`, { hang: 'deaf' });
    await upstream.stop();
    const { value } = await whileTimePasses(cache, pullImage(cache, at));
    expectWhole(value, image.root.digest);
    storage.heal();
  });

  test('does not keep a cache from closing', async () => {
    const { upstream, cache, storage } = await start();
    upstream.addImage('team/app', { tag: '1' });
    for (const operation of ['metadata.set', 'metadata.get', 'blobs.put'] as const)
      storage.on(operation, { hang: 'deaf' });
    const pulling = cache.get(byTag).catch(() => undefined);
    await expect.poll(() => storage.calls('metadata.get')).toBeGreaterThan(0);
    await whileTimePasses(cache, cache.cache.close({ graceMs: 1_000 }));
    await whileTimePasses(cache, pulling);
    storage.heal();
  });

  test('has everything once it is back', async () => {
    const { upstream, cache, storage } = await start();
    const image = upstream.addImage('team/app', { tag: '1' });
    for (const operation of metadata) storage.on(`metadata.${operation}`, { fail: 'away' });
    await pullImage(cache, at);
    storage.heal();
    await pullImage(cache, at);
    await cache.restart();
    await upstream.stop();
    const got = await cache.get(byTag);
    expect([got.status, digestOfBody(got.body)]).toEqual([200, image.root.digest]);
  });
});
