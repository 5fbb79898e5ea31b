import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ProxyCacheEvent } from '@proxycache/core';
import { type FlakyStorage, flakyStore, startFakeCdn } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startCache, startUpstream } from '../semantics/cache-under-test.ts';
import { createPump } from '../soak/pump.ts';
import type { Scenario, World } from './scenario.ts';
import { scenarios } from './scenarios.ts';

const repository = 'team/app';
const base = `/v2/up/${repository}`;
const layerSizes = [40 * 1024, 3 * 1024 * 1024];
const longest = 10 * 60_000;

async function start({ fake, options, cache: more, spare: hasSpare, cdn: hasCdn }: NonNullable<Scenario['given']>) {
  const upstream = await startUpstream({ ...fake });
  const spare = await startUpstream({ address: '127.0.0.2' });
  const cdn = await startFakeCdn({ address: '127.0.0.3' });
  onTestFinished(() => cdn.stop());
  if (hasCdn) upstream.change({ redirectBlobsTo: cdn });
  for (const registry of [upstream, spare]) registry.addImage(repository, { tag: '1', layerSizes, seed: 'scenario' });
  let storage: FlakyStorage | undefined;
  const cache = await startCache(
    {
      upstreams: [{ key: 'up', url: upstream.url, retry: {}, ...(hasSpare && { endpoints: [spare.url] }), ...options }],
      minFree: 0,
      ...more,
    },
    {
      wrapStorage(given) {
        storage = flakyStore(given);
        return storage;
      },
    },
  );
  const world: World = { upstream, spare, cdn, cache, storage: storage! };
  const hosts = [upstream, spare, cdn];
  const moved = () =>
    hosts.reduce((sum, host) => sum + host.sentBytes() + host.requests.length + host.underWay(), cache.events.length);
  return { ...world, hosts, world, pump: createPump(cache.clock, moved) };
}

/** An event as the table names it. */
function named(event: ProxyCacheEvent): string[] {
  switch (event.type) {
    case 'request':
      return [`request ${event.error ?? event.status}`];
    case 'ingest-ended':
      return [`ingest-ended ${event.outcome}`];
    case 'passed-through':
      return [`passed-through ${event.reason}`];
    case 'store-failed':
      return [`store-failed ${event.operation}`];
    default:
      return [event.type];
  }
}

function files(cache: CacheUnderTest, folder: string): string[] {
  return readdirSync(join(cache.directory, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
}

describe.each(scenarios)('what goes wrong: $what', (scenario) => {
  test(`a client that asks for ${scenario.ask} gets ${scenario.client.status}${scenario.client.end ? ', broken off' : ''}`, async () => {
    const { given = {}, ask, client, asked, disk, events, next = { status: 200 } } = scenario;
    const { upstream, cdn, cache, storage, world, hosts, pump } = await start(given);
    const get = (path: string) => pump.drive(path, cache.get(path), longest);
    const { layers, root } = imageOf(upstream);
    const digest = ask === 'tag' ? root : layers[ask === 'small' ? 0 : 1]!;
    const path = ask === 'tag' ? `${base}/manifests/1` : `${base}/blobs/${digest}`;
    if (given.stored) {
      for (const stored of [`${base}/manifests/1`, ...layers.map((layer) => `${base}/blobs/${layer}`)])
        await get(stored);
      await pump.idle();
    }
    for (const host of hosts) host.clear();
    cache.events.length = 0;
    await pump.drive('the fault', Promise.resolve(scenario.fault(world)), longest);

    const startedAt = cache.clock.monotonic();
    const got = await get(path);
    expect(got.status).toBe(client.status);
    expect(got.failure !== undefined).toBe(client.end === 'broken');
    if (client.status === 200 && !client.end) expect(digestOfBody(got.body)).toBe(digest);
    expect(/^299 - "stale: /.test(got.headers['warning'] ?? '')).toBe(client.warning === true);
    if (client.retryAfter !== undefined) expect(got.headers['retry-after']).toBe(client.retryAfter);
    if (client.withinMs !== undefined) {
      expect(cache.clock.monotonic() - startedAt).toBeLessThanOrEqual(client.withinMs);
    }
    await pump.idle();
    const source = given.cdn && ask !== 'tag' ? cdn : upstream;
    const size = ask === 'tag' ? got.body.byteLength : layerSizes[ask === 'small' ? 0 : 1]!;
    if (asked.gets !== undefined)
      expect(source.count({ method: 'GET', path: /\/(blobs|manifests)\// })).toBe(asked.gets);
    if (asked.heads !== undefined) expect(source.count({ method: 'HEAD' })).toBe(asked.heads);
    if (asked.atMost !== undefined) expect(source.sentBytes() / size).toBeLessThanOrEqual(asked.atMost);

    storage.heal();
    await pump.run(60_000);
    const hex = digest.slice('sha256:'.length);
    expect(files(cache, 'blobs').includes(hex)).toBe(disk === 'stored');
    expect([files(cache, 'spool'), files(cache, 'tmp')]).toEqual([[], []]);
    expect(cache.events.flatMap(named)).toEqual(expect.arrayContaining([...events]));

    for (const host of hosts) {
      host.heal();
      await host.start();
    }
    // Until nothing of it is remembered: a host that was left alone is tried by the first who asks.
    await pump.run(120_000);
    await get(path);
    await pump.idle();
    const later = await get(path);
    expect([later.status, later.failure, digestOfBody(later.body)]).toEqual([next.status, undefined, digest]);
    expect(later.headers['warning']).toBeUndefined();
  });
});

function imageOf(upstream: World['upstream']): { root: string; layers: string[] } {
  const manifest = upstream.manifest(repository, '1')!;
  const { layers } = JSON.parse(Buffer.from(manifest.bytes).toString()) as { layers: { digest: string }[] };
  return { root: manifest.digest, layers: layers.map(({ digest }) => digest) };
}
