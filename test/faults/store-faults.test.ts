import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type FlakyStorage, flakyStore, openFiles, type StoreOperation, type Trouble } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startPair } from '../semantics/cache-under-test.ts';
import { patient } from '../semantics/patient.ts';
import type { Got } from '../semantics/request.ts';
import { flipByte } from './rot.ts';

const byTag = '/v2/up/team/app/manifests/1';
const tagList = '/v2/up/team/app/tags/list';
const blobPath = (digest: string) => `/v2/up/team/app/blobs/${digest}`;
const layerSize = 200_000;

/** Those that pulls use; a scrub's are in scrub.test.ts. Nothing is deleted: a retention would. */
const operations = [
  'blobs.open',
  'blobs.read',
  'blobs.adopt',
  'blobs.put',
  'blobs.quarantine',
  'metadata.get',
  'metadata.set',
  'metadata.list',
] as const satisfies readonly StoreOperation[];

const troubles: Record<string, Trouble & { times?: number }> = {
  throws: { fail: 'EIO' },
  'throws once': { fail: 'EIO', times: 1 },
  hangs: { hang: 'deaf' },
};

async function start() {
  let storage: FlakyStorage | undefined;
  const pair = await startPair({
    ...patient,
    cache: { verifyOnRead: 'first' },
    mount: {
      wrapStorage(given) {
        storage ??= flakyStore(given);
        return storage;
      },
    },
  });
  const image = pair.upstream.addImage('team/app', { tag: '1', layerSizes: [layerSize, 1000] });
  return { ...pair, storage: storage!, image };
}

/** What the promise comes to, while the clock runs on. */
async function whileTimePasses<T>(cache: CacheUnderTest, promise: Promise<T>): Promise<T> {
  let done = false;
  const end = () => {
    done = true;
  };
  const ended = promise.then(end, end);
  // Slowly enough that a disk in good health is never late.
  for (let i = 0; i < 1_000 && !done; i++) {
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 10))]);
    if (!done) await cache.clock.advance(150);
  }
  expect(done).toBe(true);
  return await promise;
}

type Scene = Awaited<ReturnType<typeof start>>;

const whole = ({ status, failure, body }: Got) => [status, failure, digestOfBody(body)];

/** Everything a client can ask of an image, each answer checked. */
async function pull({ cache, image }: Scene): Promise<void> {
  const get = (path: string, headers = {}) => whileTimePasses(cache, cache.get(path, { headers }));
  expect(whole(await get(byTag))).toEqual([200, undefined, image.root.digest]);
  const byDigest = `/v2/up/team/app/manifests/${image.root.digest}`;
  expect(whole(await get(byDigest))).toEqual([200, undefined, image.root.digest]);
  const [large] = image.layers;
  const range = await get(blobPath(large!.digest), { range: 'bytes=1000-1999' });
  expect([range.status, range.failure, range.body.byteLength]).toEqual([206, undefined, 1000]);
  for (const { digest } of image.blobs) {
    const got = await get(blobPath(digest));
    expect(whole(got)).toEqual([200, undefined, digest]);
    if (digest === large!.digest) expect(got.body.subarray(1000, 2000).equals(range.body)).toBe(true);
    expect((await whileTimePasses(cache, cache.head(blobPath(digest)))).status).toBe(200);
  }
  expect(JSON.parse((await get(tagList)).body.toString())).toEqual({ name: 'up/team/app', tags: ['1'] });
}

/** Has all of the image stored by a store that works again. */
async function fill({ cache, image }: Scene): Promise<void> {
  await whileTimePasses(cache, cache.restart());
  const paths = [byTag, tagList, ...image.blobs.map(({ digest }) => blobPath(digest))];
  for (const path of paths) expect((await whileTimePasses(cache, cache.get(path))).failure).toBeUndefined();
  await whileTimePasses(cache, cache.restart());
}

/** The tags while the upstream does not tell them: from here, or honestly not. */
async function listAlone({ upstream, cache, storage }: Scene, operation: StoreOperation): Promise<void> {
  const heal = upstream.on({ path: /\/tags\/list/ }, { status: 500 });
  const got = await whileTimePasses(cache, cache.get(tagList));
  heal();
  if (got.status === 200) expect(JSON.parse(got.body.toString()).tags).toEqual(['1']);
  else expect([got.status, storage.calls(operation) > 0]).toEqual([503, true]);
}

function files(cache: CacheUnderTest, folder: string): string[] {
  return readdirSync(join(cache.directory, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
}

const rows = operations.flatMap((operation) =>
  Object.entries(troubles).map(([what, trouble]) => [operation, what, trouble] as const),
);

describe.each(rows)('a store whose %s %s', (operation, _what, trouble) => {
  test('costs no pull, cold or warm, is told, and has everything once it is back', async () => {
    const scene = await start();
    const { upstream, cache, storage, image } = scene;
    const breaks = () => storage.on(operation, trouble);
    let used = storage.calls(operation);
    let times = 0;
    /** What was met is told. An upload may take its time before it is called a failure, and is told of once. */
    const expectTold = async () => {
      const isUpload = operation === 'blobs.adopt' && ('hang' in trouble || times++ > 0);
      const met = storage.calls(operation) > used && !isUpload;
      const isTold = async () => {
        await cache.clock.advance(250);
        return cache.seen('store-failed').length > 0;
      };
      if (met) await expect.poll(isTold, { interval: 2, timeout: 15_000 }).toBe(true);
      used = storage.calls(operation);
      cache.events.length = 0;
    };

    // Cold; again with what that left; after a restart with nothing in memory.
    breaks();
    await pull(scene);
    breaks();
    await pull(scene);
    await expectTold();
    await whileTimePasses(cache, cache.restart());
    breaks();
    await pull(scene);
    await listAlone(scene, operation);
    await expectTold();
    storage.heal();
    await fill(scene);

    // Warm, with a blob that rotted.
    cache.events.length = 0;
    used = storage.calls(operation);
    flipByte(join(cache.directory, 'blobs', image.layers[0]!.digest.replace(':', '/')));
    breaks();
    await pull(scene);
    await listAlone(scene, operation);
    await expectTold();
    // Nothing that fails only where content is wrong goes untried here.
    expect(storage.calls(operation)).toBeGreaterThan(0);
    storage.heal();

    // Back: all of it is stored by the next pull, and served with the upstream down.
    await fill(scene);
    await upstream.stop();
    const { blobs, records } = await cache.cache.scrub();
    expect([blobs.checked, blobs.flawed, records.damaged]).toEqual([4, 0, 0]);
    for (const { digest } of image.blobs) {
      const got = await cache.get(blobPath(digest));
      expect([...whole(got), got.headers['cache-status']]).toEqual([200, undefined, digest, 'proxycache; hit']);
    }
    expect(whole(await whileTimePasses(cache, cache.get(byTag)))).toEqual([200, undefined, image.root.digest]);
    await expect
      .poll(async () => {
        await cache.clock.advance(1_000);
        return [storage.openBlobs(), openFiles(cache.directory), files(cache, 'spool')];
      })
      .toEqual([0, [], []]);
    expect(files(cache, 'tmp')).toEqual([]);
  });
});
