import {
  type Coordinator,
  createProxyCache,
  digestOf,
  fileStorage,
  type Lease,
  localCoordinator,
  type ProxyCache,
  type ProxyCacheEvent,
} from '@proxycache/core';
import { type FakeUpstream, type Fault, seededBytes, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';

const MiB = 1024 * 1024;
const gets = { method: 'GET', path: /\/blobs\// };
const rounds = Number(process.env['ROUGH_ROUNDS'] ?? 12);
const firstSeed = Number(process.env['ROUGH_SEED'] ?? 1);

let folder: string;
let upstream: FakeUpstream;
let events: ProxyCacheEvent[];
let caches: ProxyCache[];

beforeEach(async () => {
  folder = makeTemporaryFolder('rough');
  upstream = await startFakeUpstream();
  events = [];
  caches = [];
});
afterEach(async () => {
  await Promise.all(caches.map((cache) => cache.close({ graceMs: 0 })));
  await upstream.stop();
  removeFolder(folder);
});

/** Numbers from 0 up to 1 that are the same for the same seed. */
function numbers(seed: number): () => number {
  let state = seed * 2_654_435_761;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A coordinator of which now and then a call fails, a message is lost, and a lease, of which its holder learns late or never. */
function roughCoordinator(random: () => number): Coordinator {
  const inner = localCoordinator();
  const fails = () => {
    if (random() < 0.1) throw new Error('away');
  };

  function shaky(lease: Lease): Lease {
    if (random() < 0.6) return lease;
    const lost = new AbortController();
    const isTold = random() < 0.7;
    setTimeout(async () => {
      await lease.release();
      if (isTold) lost.abort(new Error('lost'));
    }, random() * 300);
    return { ...lease, lost: lost.signal };
  }

  return {
    async acquire(...asked) {
      fails();
      const lease = await inner.acquire(...asked);
      return lease && shaky(lease);
    },
    async holder(key) {
      fails();
      return await inner.holder(key);
    },
    async publish(...message) {
      fails();
      if (random() < 0.7) await inner.publish(...message);
    },
    subscribe: inner.subscribe,
  };
}

function fault(random: () => number, size: number): Fault[] {
  const slow = { slow: { chunkBytes: 64 * 1024, everyMs: 1 + Math.floor(random() * 10) } };
  return random() < 0.4 ? [slow, { cutAfter: Math.floor(random() * size), how: 'rst' }] : [slow];
}

test('whatever befalls the coordinator and the upstream, each pull is right, and the blob is stored', {
  timeout: rounds * 30_000,
}, async () => {
  for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
    const random = numbers(seed);
    const coordinator = roughCoordinator(random);
    const round = Array.from({ length: 3 }, () =>
      createProxyCache({
        upstreams: [{ key: 'up', url: upstream.url }],
        storage: { ...fileStorage(folder), coordinator },
        minFree: 0,
        observer: (event) => events.push(event),
      }),
    );
    caches.push(...round);
    const bytes = seededBytes(`rough ${seed}`, Math.floor(random() * 3 * MiB) + 1);
    const digest = digestOf(bytes);
    for (const repository of ['team/app', 'team/other']) upstream.putBlob(repository, bytes);
    upstream.script(
      gets,
      Array.from({ length: 6 }, () => fault(random, bytes.byteLength)),
    );
    const pull = async (cache: ProxyCache) => {
      const repository = random() < 0.7 ? 'team/app' : 'team/other';
      const response = await cache.fetch(new Request(`http://cache/v2/up/${repository}/blobs/${digest}`));
      const got = Buffer.from(await response.arrayBuffer());
      return [response.status, got.equals(bytes)];
    };
    const pulls = [...round, ...round].map((cache) =>
      new Promise<void>((resolve) => setTimeout(resolve, random() * 200)).then(() => pull(cache)),
    );
    const failures = () => events.filter((event) => event.type === 'ingest-ended' && event.outcome === 'failed');
    expect(await Promise.all(pulls), `seed ${seed}: ${JSON.stringify(failures())}`).toEqual(Array(6).fill([200, true]));
    const count = (type: string) => events.filter((event) => event.type === type).length;
    await expect.poll(() => count('ingest-ended') - count('ingest-started'), { timeout: 20_000 }).toBe(0);
    const blob = await fileStorage(folder).blobs.open(digest, { signal: new AbortController().signal });
    expect(blob?.size, `seed ${seed}`).toBe(bytes.byteLength);
    await blob?.close();
    await Promise.all(caches.splice(0).map((cache) => cache.close({ graceMs: 0 })));
  }
});
