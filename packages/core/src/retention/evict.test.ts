import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import type { ContentKind } from '../catalog/links.ts';
import type { ProxyCacheEvent } from '../events.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import { createPullRecords, type PullRecords } from '../pull/pull-records.ts';
import type { Coordinator } from '../store/coordinator.ts';
import { fileBlobs } from '../store/local-blobs.ts';
import { localCoordinator } from '../store/local-coordinator.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import { type SharedBlobs, shareBlobs } from '../store/shared-blobs.ts';
import type { Storage } from '../store/storage.ts';
import { tiered } from '../store/tiered.ts';
import { createRetention } from './retention.ts';
import type { RetentionOptions } from './retention-options.ts';
import type { Sweeps } from './sweeps.ts';
import { tellOthers } from './tell-others.ts';

const day = 24 * 3_600_000;
const { signal } = new AbortController();
let clock: ManualClock;
let storage: Storage;
let records: PullRecords;
let blobs: SharedBlobs;
let events: ProxyCacheEvent[];

beforeEach(() => {
  clock = manualClock();
  storage = memoryStorage({ clock });
  events = [];
  const told = { clock, observe: (event: ProxyCacheEvent) => void events.push(event) };
  blobs = shareBlobs(storage.blobs, told);
  const { metadata } = storage;
  records = createPullRecords({
    ...{ metadata, blobs, ...told },
    maxBytes: 1e6,
    maxManifestBytes: 1e6,
    validForMs: () => Number.POSITIVE_INFINITY,
  });
});

function retention(options: Partial<RetentionOptions> = {}, coordinator?: Coordinator): Sweeps {
  return createRetention(
    {
      ...records,
      ...{ blobs, clock, coordinator, metadata: storage.metadata, maxManifestBytes: 1e6 },
      ingests: { find: () => undefined },
      isWaiting: () => false,
      sweptElsewhere: () => undefined,
      upstreams: new Map(),
      observe: (event) => void events.push(event),
    },
    { unusedFor: '7d', rules: [], ...options, every: false },
  );
}

const placeOf = (upstream: string, repository: string) => ({ upstream, repository, scope: '-', generation: 'g' });

async function put(upstream: string, repository: string, kind: ContentKind, bytes: Uint8Array): Promise<Digest> {
  const digest = digestOf(bytes);
  await blobs.put({ digest, bytes, signal });
  await records.links.prove(placeOf(upstream, repository), kind, { digest, mediaType: 'x', size: bytes.byteLength });
  return digest;
}

/** An image of one layer of 1,000 bytes, and the tag that stands for it, as they are after a pull. */
async function pull(repository: string, tag: string, { layer = `${repository}:${tag}`, upstream = 'up' } = {}) {
  const blob = await put(upstream, repository, 'blob', Buffer.alloc(1_000, layer));
  const descriptor = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: blob, size: 1_000 };
  const body = JSON.stringify({ schemaVersion: 2, layers: [descriptor], annotations: { tag } });
  const manifest = await put(upstream, repository, 'manifest', Buffer.from(body));
  const value = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: manifest, size: body.length };
  const place = placeOf(upstream, repository);
  await records.tags.update({ place, tag }, () => ({ value, stored: true, validatedAt: clock.now() }));
  for (const [kind, tagOrDigest] of [
    ['tag', tag],
    ['manifest', manifest],
    ['blob', blob],
  ] as const) {
    records.usage.note(records.usage.of({ place, kind, tagOrDigest }), clock.now());
  }
  return { manifest, blob };
}

async function stored(): Promise<Digest[]> {
  const all: Digest[] = [];
  for await (const { digest } of storage.blobs.digests({ signal })) all.push(digest);
  return all;
}

const filesOf = (images: { manifest: Digest; blob: Digest }[]) =>
  [...new Set(images.flatMap(({ manifest, blob }) => [manifest, blob]))].sort();

it('makes room by what was used the longest ago, image by image, and by no more than is needed', async () => {
  const images = [];
  for (const tag of ['a', 'b', 'c', 'd']) {
    images.push(await pull('app', tag));
    await clock.advance(60_000);
  }
  await pull('app', 'a');
  const freed = await retention().evict({ bytes: 1_500, signal });
  expect(freed).toBeGreaterThanOrEqual(1_500);
  expect(await stored()).toEqual(filesOf([images[0]!, images[3]!]));
  expect(events).toContainEqual(expect.objectContaining({ type: 'repository-swept', reason: 'max-bytes', tags: 2 }));
  expect(events.at(-1)).toMatchObject({ type: 'sweep-ended', reason: 'max-bytes', files: 4, bytes: freed });
});

it('removes the records of a large repository in short steps, however fast the store is', async () => {
  for (let tag = 0; tag < 40; tag++) await pull('app', `v${tag}`);
  await records.usage.settled();
  const { metadata } = storage;
  const remove = metadata.delete;
  let [inTurn, most, isDone] = [0, 0, false];
  metadata.delete = async (key, options) => {
    most = Math.max(most, ++inTurn);
    return await remove(key, options);
  };
  const turn = () => {
    inTurn = 0;
    if (!isDone) setImmediate(turn);
  };
  turn();
  await retention().evict({ bytes: 1e9, signal });
  isDone = true;
  expect(await stored()).toEqual([]);
  // Each with its last use.
  expect(most).toBeLessThanOrEqual(4);
});

it('leaves what other images need, what rules keep, and has an end where nothing else is left', async () => {
  const old = await pull('app', 'v1', { layer: 'base' });
  await clock.advance(60_000);
  const young = await pull('app', 'main', { layer: 'base' });
  await clock.advance(60_000);
  const kept = await pull('app', 'kept');
  await clock.advance(60_000);
  const sweeps = retention({ unusedFor: 'never', rules: [{ keep: ['kept'] }] });
  expect(await sweeps.evict({ bytes: 10, signal })).toBeGreaterThan(10);
  expect(await stored()).toEqual(filesOf([young, kept]));
  expect(await stored()).not.toContain(old.manifest);
  await sweeps.evict({ bytes: 1e9, signal });
  expect(await stored()).toEqual(filesOf([kept]));
  expect(await sweeps.evict({ bytes: 1e9, signal })).toBe(0);
});

it('makes room in what one upstream has, also where another has the same bytes', async () => {
  const both = await pull('app', 'v1', { layer: 'same' });
  await pull('app', 'v1', { layer: 'same', upstream: 'other' });
  await clock.advance(60_000);
  const own = await pull('app', 'v2');
  const sweeps = retention();
  expect(await sweeps.evict({ bytes: 500, upstream: 'up', signal })).toBeGreaterThanOrEqual(1_000);
  expect(await stored()).toEqual(filesOf([both, own]));
  const place = placeOf('up', 'app');
  expect(await records.links.find(place, 'blob', both.blob, signal)).toBeUndefined();
  expect(await records.links.find(placeOf('other', 'app'), 'blob', both.blob, signal)).toBeDefined();
});

it('leaves bytes that no repository has for last only where they are younger', async () => {
  const bytes = Buffer.from('left by a crash');
  await blobs.put({ digest: digestOf(bytes), bytes, signal });
  await clock.advance(60_000);
  const image = await pull('app', 'v1');
  expect(await retention().evict({ bytes: 1, signal })).toBe(bytes.byteLength);
  expect(await stored()).toEqual(filesOf([image]));
});

it('lets go of what admission noted of content that is gone, not of what was noted lately or is here', async () => {
  const path = (digest: Digest) => `parents/up/-/app/${digest.replace(':', '%3A')}`;
  const note = (digest: Digest) =>
    storage.metadata.set(path(digest), JSON.stringify({ format: 1, manifests: [], notedAt: clock.now() }), { signal });
  const [old, kept] = [await pull('app', 'old'), await pull('app', 'kept')];
  const never = digestOf(Buffer.from('never came'));
  for (const digest of [old.blob, kept.blob, never]) await note(digest);
  await clock.advance(8 * day);
  const late = digestOf(Buffer.from('was just asked for'));
  await note(late);
  await pull('app', 'kept');
  await retention().run({ dryRun: true });
  expect(await storage.metadata.list('parents/', { limit: 9, signal })).toHaveLength(4);
  await retention().run({});
  expect(await storage.metadata.list('parents/', { limit: 9, signal })).toEqual([kept.blob, late].map(path).sort());
});

it('forgets uses of what has no record any more, once they are as old', async () => {
  const { place, kind, tagOrDigest } = { place: placeOf('up', 'app'), kind: 'tag', tagOrDigest: 'gone' } as const;
  records.usage.note(records.usage.of({ place, kind, tagOrDigest }), clock.now());
  await records.usage.settled();
  await retention().run({});
  expect(await storage.metadata.list('use/', { limit: 9, signal })).toHaveLength(1);
  await clock.advance(8 * day);
  await retention().run({});
  expect(await storage.metadata.list('use/', { limit: 9, signal })).toEqual([]);
});

it('of two processes one sweeps, the other says so, and a dry run disturbs neither', async () => {
  const coordinator = localCoordinator({ clock });
  await pull('app', 'v1');
  await records.usage.settled();
  await clock.advance(8 * day);
  const [one, other] = [retention({}, coordinator), retention({}, coordinator)];
  const reports = await Promise.all([one.run({}), other.run({}), other.run({ dryRun: true })]);
  expect(reports.filter(({ elsewhere }) => elsewhere)).toHaveLength(1);
  expect(reports.filter(({ dryRun, files }) => !dryRun && files === 2)).toHaveLength(1);
  expect(await stored()).toEqual([]);
});

it('other processes forget a manifest that one of them let go of, before what it needs is gone', async () => {
  const coordinator = localCoordinator({ clock });
  const { manifest, blob } = await pull('app', 'v1');
  const order: string[] = [];
  const other = tellOthers(coordinator, (digest) => void order.push(`forgets ${digest}`));
  const remove = storage.blobs.delete;
  storage.blobs.delete = (digest, options) => {
    order.push(`deletes ${digest}`);
    return remove(digest, options);
  };
  await clock.advance(8 * day);
  await retention({}, coordinator).run({});
  expect(order).toEqual([`deletes ${manifest}`, `forgets ${manifest}`, `deletes ${blob}`]);
  other.close();
});

it('takes what goes out of each tier of a tiered store', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'proxycache-retention-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const local = fileBlobs(directory, { clock });
  blobs = shareBlobs(tiered({ local, remote: storage.blobs, clock }), { clock, observe: () => undefined });
  const { blob } = await pull('app', 'v1');
  const here = async () => {
    const opened = await local.open(blob, { signal });
    await opened?.close();
    return opened !== undefined;
  };
  await expect.poll(here).toBe(true);
  await clock.advance(8 * day);
  expect(await retention().run({})).toMatchObject({ tags: 1, files: 2 });
  expect(await stored()).toEqual([]);
  expect(await here()).toBe(false);
});

it('sweeps without a coordinator that fails', async () => {
  const fail = () => Promise.reject(new Error('away'));
  const away: Coordinator = { acquire: fail, holder: fail, publish: fail, subscribe: () => () => undefined };
  await pull('app', 'v1');
  await clock.advance(8 * day);
  expect(await retention({}, away).run({})).toMatchObject({ elsewhere: false, tags: 1, files: 2 });
});

it('removes nothing while the records cannot be listed or read, and says so', async () => {
  await pull('app', 'v1');
  await clock.advance(8 * day);
  const { getMany } = storage.metadata;
  storage.metadata.getMany = () => Promise.reject(new Error('away'));
  await expect(retention().run({})).rejects.toThrow('away');
  expect(events.at(-1)).toMatchObject({ type: 'sweep-ended', outcome: 'failed', error: 'away' });
  storage.metadata.getMany = getMany;
  expect(await stored()).toHaveLength(2);
  expect(await retention().run({})).toMatchObject({ tags: 1, files: 2 });
});
