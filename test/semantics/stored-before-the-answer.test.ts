import type { Storage } from '@proxycache/core';
import { type FlakyStorage, flakyStore, type Gate, gate } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startPair } from './cache-under-test.ts';
import type { Got } from './request.ts';

const tagPath = '/v2/up/team/app/manifests/1';

async function startGated(ofTags?: { held?: Gate }) {
  let storage!: FlakyStorage;
  const wrapStorage = (given: Storage) => {
    storage = flakyStore(given);
    const { metadata } = storage;
    const set: typeof metadata.set = async (key, value, options) => {
      if (key.startsWith('tag/')) await ofTags?.held?.pass();
      return await metadata.set(key, value, options);
    };
    return { ...storage, metadata: { ...metadata, set } };
  };
  const pair = await startPair({ freshFor: '1h', mount: { wrapStorage } });
  const image = pair.upstream.addImage('team/app', { tag: '1', layerSizes: [1000] });
  return { ...pair, storage, image };
}

/** How many are answered in a time that is long enough for an answer from memory. */
async function answeredSoon(cache: CacheUnderTest, asked: readonly Promise<Got>[]): Promise<number> {
  let answers = 0;
  for (const one of asked) one.then(() => answers++);
  for (let turns = 0; turns < 10; turns++) expect((await cache.get('/v2/')).status).toBe(200);
  return answers;
}

// Found by kill -9 during pulls: a client that asked by digest while another's pull by tag was being stored had its answer
// from memory, and none after the restart, with the upstream down.
test.each(['blobs.put', 'metadata.set'] as const)(
  'a manifest is given to nobody before the store has it: %s of the first pull takes long',
  async (operation) => {
    const { cache, upstream, storage, image } = await startGated();
    const held = gate();
    storage.on(operation, { gate: held });
    const digestPath = `/v2/up/team/app/manifests/${image.root.digest}`;
    const asked = [cache.get(tagPath)];
    await held.reached;
    // A HEAD by tag tells what the upstream says, which need not be stored.
    asked.push(cache.get(digestPath), cache.get(tagPath), cache.head(digestPath));
    expect(await answeredSoon(cache, asked)).toBe(0);
    held.open();
    const got = await Promise.all(asked);
    expect(got.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(got.slice(0, 3).map(({ body }) => digestOfBody(body))).toEqual(Array(3).fill(image.root.digest));
    // From then on it is answered from memory, and again after a restart.
    expect((await cache.get(digestPath)).headers['cache-status']).toBe('proxycache; hit');
    await upstream.stop();
    await cache.restart();
    for (const path of [tagPath, digestPath]) expect((await cache.get(path)).status).toBe(200);
  },
);

test('a tag that changed is given to nobody before the store has the change', async () => {
  const { cache, upstream, storage, image } = await startGated();
  await cache.get(tagPath);
  const next = upstream.addImage('team/app', { tag: '1', layerSizes: [2000] });
  expect(next.root.digest).not.toBe(image.root.digest);
  await cache.clock.advance(2 * 3_600_000);
  const held = gate();
  storage.on('metadata.set', { gate: held });
  const first = cache.get(tagPath);
  await held.reached;
  const nextPath = `/v2/up/team/app/manifests/${next.root.digest}`;
  const asked = [first, cache.get(tagPath), cache.get(nextPath)];
  expect(await answeredSoon(cache, asked)).toBe(0);
  held.open();
  const got = await Promise.all(asked);
  expect(got.map(({ body }) => digestOfBody(body))).toEqual(Array(3).fill(next.root.digest));
});

test('32: a change that hangs on its way to the store keeps nobody for longer than validateWithin, and is not told', async () => {
  const ofTags: { held?: Gate } = {};
  const { cache, upstream, image } = await startGated(ofTags);
  await cache.get(tagPath);
  const next = upstream.addImage('team/app', { tag: '1', layerSizes: [2000] });
  await cache.clock.advance(2 * 3_600_000);
  const held = gate();
  ofTags.held = held;
  const asked = cache.get(tagPath);
  await held.reached;
  await cache.clock.advance(500);
  // Whoever comes then does not wait for longer either.
  const later = cache.get(tagPath);
  expect(await answeredSoon(cache, [later])).toBe(0);
  await cache.clock.advance(1_500);
  await asked;
  await cache.clock.advance(500);
  for (const got of [await asked, await later]) {
    expect([got.status, digestOfBody(got.body)]).toEqual([200, image.root.digest]);
    expect(got.headers['warning']).toBeDefined();
  }
  held.open();
  await expect.poll(async () => digestOfBody((await cache.get(tagPath)).body)).toBe(next.root.digest);
});

test('9: a tag that went while a pull of it began is not served to that pull from before, however long it takes', async () => {
  const ofTags: { held?: Gate } = {};
  const { cache, upstream } = await startGated(ofTags);
  await cache.get(tagPath);
  upstream.removeTag('team/app', '1');
  await cache.clock.advance(2 * 3_600_000);
  const held = gate();
  ofTags.held = held;
  const first = cache.get(tagPath);
  await held.reached;
  const later = cache.get(tagPath);
  expect(await answeredSoon(cache, [first, later])).toBe(0);
  const slow = gate();
  upstream.on({ path: /manifests/ }, { gate: slow });
  held.open();
  expect((await first).status).toBe(404);
  await slow.reached;
  await cache.clock.advance(2_000);
  slow.open();
  expect((await later).status).toBe(404);
});
