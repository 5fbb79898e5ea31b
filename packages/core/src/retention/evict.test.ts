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
import { createKeptBlobs } from '../store/kept-blobs.ts';
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
  blobs = shareBlobs(storage.blobs, { kept: createKeptBlobs(storage.blobs, { maxBytes: 0, ...told }), ...told });
  const { metadata } = storage;
  records = createPullRecords({
    ...{ metadata, blobs, ...told },
    maxBytes: 1e6,
    maxManifestBytes: () => 1e6,
    validForMs: () => Number.POSITIVE_INFINITY,
  });
});

function retention(options: Partial<RetentionOptions> = {}, coordinator?: Coordinator): Sweeps {
  return createRetention(
    {
      ...records,
      ...{
        blobs,
        clock,
        coordinator,
        metadata: storage.metadata,
        marks: storage.metadata,
        maxManifestBytes: () => 1e6,
      },
      ingests: { isComingIn: () => false },
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
  // A few at once, each with its last use.
  expect(most).toBeLessThanOrEqual(16);
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

it('lets nothing go where that could not be enough, and no more than has to where more is wanted than is there', async () => {
  const images = [await pull('app', 'a')];
  await clock.advance(60_000);
  images.push(await pull('app', 'b'));
  const sweeps = retention();
  expect(await sweeps.evict({ bytes: 1e9, least: 1e6, signal })).toBe(0);
  expect(await stored()).toEqual(filesOf(images));
  expect(await sweeps.evict({ bytes: 1e9, least: 1_000, signal })).toBeGreaterThanOrEqual(1_000);
  expect(await stored()).toEqual(filesOf([images[1]!]));
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

/** Does something once, when the record of a link has gone. */
function whenLinkGoes(digest: Digest, then: () => void | Promise<void>): void {
  const { metadata } = storage;
  const remove = metadata.delete;
  let isDone = false;
  metadata.delete = async (key, options) => {
    const removed = await remove(key, options);
    const isIt = key.startsWith('link/') && key.endsWith(digest.replace(':', '%3A'));
    if (!isIt || !removed || isDone) return removed;
    isDone = true;
    await then();
    return removed;
  };
}

it('removes several records and files at once, and ends all it began where one of them fails', async () => {
  for (let tag = 0; tag < 20; tag++) await pull('app', `v${tag}`);
  await records.usage.settled();
  const { metadata, blobs: files } = storage;
  let [running, most] = [0, 0];
  const counted = <A extends unknown[], T>(call: (...given: A) => Promise<T>) => {
    return async (...given: A): Promise<T> => {
      most = Math.max(most, ++running);
      try {
        await new Promise<void>((resolve) => setImmediate(resolve));
        return await call(...given);
      } finally {
        running--;
      }
    };
  };
  const remove = metadata.delete;
  const fails = { tags: 0 };
  metadata.delete = counted((key, options) => {
    return key.startsWith('tag/') && ++fails.tags === 3 ? Promise.reject(new Error('away')) : remove(key, options);
  });
  const sweeps = retention();
  await expect(sweeps.evict({ bytes: 1e9, signal })).rejects.toThrow('away');
  expect([running, fails.tags]).toEqual([0, expect.toSatisfy((tags: number) => tags < 20)]);
  expect(most).toBe(8);
  most = 0;
  files.delete = counted(files.delete);
  metadata.delete = remove;
  await sweeps.evict({ bytes: 1e9, signal });
  expect([most, await stored()]).toEqual([8, []]);
});

it('lets an image that somebody reads be, and takes the next one in its place', async () => {
  const images = [];
  for (const tag of ['a', 'b', 'c']) {
    images.push(await pull('app', tag));
    await clock.advance(60_000);
  }
  const reading = await blobs.share(images[0]!.blob, { signal });
  const sweeps = retention();
  await sweeps.evict({ bytes: 500, signal });
  expect(await stored()).toEqual(filesOf([images[0]!, images[2]!]));
  await reading?.blob.close();
  await sweeps.evict({ bytes: 500, signal });
  expect(await stored()).toEqual(filesOf([images[2]!]));
});

it('what somebody read while its image went is gone with the next sweep, however young it is', async () => {
  const { blob } = await pull('app', 'v1');
  const sweeps = retention();
  let reading: Awaited<ReturnType<SharedBlobs['share']>>;
  whenLinkGoes(blob, async () => {
    reading = await blobs.share(blob, { signal });
  });
  await sweeps.evict({ bytes: 1e9, signal });
  expect(await stored()).toEqual([blob]);
  // As the pull does, that had found its link before.
  records.usage.note(records.usage.of({ place: placeOf('up', 'app'), kind: 'blob', tagOrDigest: blob }), clock.now());
  expect(await sweeps.run({})).toMatchObject({ files: 0 });
  await reading?.blob.close();
  expect(await sweeps.run({ dryRun: true })).toMatchObject({ files: 1 });
  expect(await sweeps.run({})).toMatchObject({ files: 1, bytes: 1_000 });
  expect(await stored()).toEqual([]);
});

it('makes room first by what no repository has any more since its image went', async () => {
  const { blob } = await pull('app', 'v1');
  const sweeps = retention();
  let reading: Awaited<ReturnType<SharedBlobs['share']>>;
  whenLinkGoes(blob, async () => {
    reading = await blobs.share(blob, { signal });
  });
  await sweeps.evict({ bytes: 1e9, signal });
  await clock.advance(60_000);
  const image = await pull('app', 'v2');
  await reading?.blob.close();
  expect(await sweeps.evict({ bytes: 1, signal })).toBe(1_000);
  expect(await stored()).toEqual(filesOf([image]));
});

it('leaves what a repository proved to hold again while its image went', async () => {
  const { blob } = await pull('app', 'v1');
  const sweeps = retention();
  const content = { digest: blob, mediaType: 'x', size: 1_000 };
  whenLinkGoes(blob, () => records.links.prove(placeOf('up', 'app'), 'blob', content));
  await sweeps.evict({ bytes: 1e9, signal });
  expect(await sweeps.run({})).toMatchObject({ files: 0 });
  expect(await stored()).toEqual([blob]);
  expect(await records.links.find(placeOf('up', 'app'), 'blob', blob, signal)).toBeDefined();
});

it('leaves what was proven again while the records could not be written', async () => {
  const { manifest } = await pull('app', 'v1');
  const sweeps = retention();
  whenLinkGoes(manifest, async () => {
    storage.metadata.set = () => Promise.reject(new Error('read-only'));
    await records.links.prove(placeOf('up', 'app'), 'manifest', { digest: manifest, mediaType: 'x', size: 9 });
  });
  await sweeps.evict({ bytes: 1e9, signal });
  await sweeps.run({});
  expect(await stored()).toContain(manifest);
});

it('leaves what was used after its record had gone: another process may bring it back', async () => {
  const { blob } = await pull('app', 'v1');
  const sweeps = retention();
  let reading: Awaited<ReturnType<SharedBlobs['share']>>;
  whenLinkGoes(blob, async () => {
    reading = await blobs.share(blob, { signal });
  });
  await sweeps.evict({ bytes: 1e9, signal });
  await reading?.blob.close();
  await clock.advance(60_000);
  records.usage.note(records.usage.of({ place: placeOf('up', 'app'), kind: 'blob', tagOrDigest: blob }), clock.now());
  await records.usage.settled();
  expect(await sweeps.run({})).toMatchObject({ files: 0 });
  await clock.advance(8 * day);
  expect(await sweeps.run({})).toMatchObject({ files: 1 });
});

it('leaves bytes that were stored anew since their records went', async () => {
  const { blob } = await pull('app', 'v1');
  const sweeps = retention();
  await sweeps.evict({ bytes: 1e9, signal });
  await clock.advance(60_000);
  await blobs.put({ digest: blob, bytes: Buffer.alloc(1_000, 'app:v1'), signal });
  expect(await sweeps.run({})).toMatchObject({ files: 0 });
  expect(await stored()).toEqual([blob]);
});

it('goes on where a pull cut it off: the manifest whose record had gone is gone with the next sweep', async () => {
  const { manifest, blob } = await pull('app', 'v1');
  const sweeps = retention();
  const place = placeOf('up', 'app');
  whenLinkGoes(manifest, async () => {
    await clock.advance(1_000);
    records.usage.note(records.usage.of({ place, kind: 'blob', tagOrDigest: blob }), clock.now());
  });
  await sweeps.evict({ bytes: 1e9, signal });
  expect(await stored()).toEqual(filesOf([{ manifest, blob }]));
  expect(await sweeps.run({})).toMatchObject({ files: 1 });
  expect(await stored()).toEqual([blob]);
  expect(await records.links.find(place, 'blob', blob, signal)).toBeDefined();
});

it('goes on where the store failed, by the next sweep', async () => {
  for (const tag of ['a', 'b', 'c']) await pull('app', tag);
  const sweeps = retention();
  const remove = storage.blobs.delete;
  storage.blobs.delete = () => Promise.reject(new Error('away'));
  await expect(sweeps.evict({ bytes: 1e9, signal })).rejects.toThrow('failed 3 times in a row');
  storage.blobs.delete = remove;
  expect(await stored()).toHaveLength(6);
  expect(await sweeps.run({})).toMatchObject({ files: 6 });
  expect(await stored()).toEqual([]);
});

it('a sweep waits for what makes room, and finds nothing half gone', async () => {
  const { blob } = await pull('app', 'v1');
  const sweeps = retention();
  let swept: Promise<{ files: number }> | undefined;
  whenLinkGoes(blob, () => {
    swept = sweeps.run({});
  });
  await sweeps.evict({ bytes: 1e9, signal });
  expect(await swept).toMatchObject({ files: 0 });
  const ended = events.filter((event) => event.type === 'sweep-ended').map((event) => event.reason);
  expect(ended).toEqual(['max-bytes', 'unused']);
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
  const tiers = tiered({ local, remote: storage.blobs, clock });
  const told = { clock, observe: () => undefined };
  blobs = shareBlobs(tiers, { kept: createKeptBlobs(tiers, { maxBytes: 0, ...told }), ...told });
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
