import { flakyStore, manualClock, seededBytes } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it } from 'vitest';
import { createLinks, type Links } from '../catalog/links.ts';
import { createManifests } from '../catalog/manifests.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import { mediaTypes } from '../oci/media-type.ts';
import type { StoreEvent } from '../store/events.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import { createIsComplete, type IsComplete } from './is-complete.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

const { signal } = new AbortController();
const imageType = 'application/vnd.oci.image.manifest.v1+json';
const targetAt = (repository: string) =>
  ({ place: { upstream: 'up', scope: '-', repository, generation: 'g1' } }) as Target;
const target = targetAt('team/app');

let storage: ReturnType<typeof flakyStore>;
let events: StoreEvent[];
let parts: PullParts;
let links: Links;
let isComplete: IsComplete;

beforeEach(() => {
  const clock = manualClock();
  storage = flakyStore(memoryStorage({ clock }));
  events = [];
  const observe = (event: StoreEvent) => void events.push(event);
  const { blobs, metadata } = storage;
  links = createLinks({ metadata, observe, clock, validForMs: () => 1e9 }, 100);
  const manifests = createManifests({ blobs, maxBytes: 1e6, maxManifestBytes: () => 4_194_304, clock, observe });
  parts = { links, manifests, blobs, observe } as unknown as PullParts;
  isComplete = createIsComplete(parts);
});

type Made = { bytes: Buffer; digest: Digest };

function descriptor(text: string, extra: object = {}) {
  const bytes = Buffer.from(text);
  return { mediaType: mediaTypes.blob, digest: digestOf(bytes), size: bytes.byteLength, ...extra };
}

function made(body: object): Made {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...body }));
  return { bytes, digest: digestOf(bytes) };
}

const image = (config: string, layers: object[]) => made({ mediaType: imageType, config: descriptor(config), layers });
const index = (children: readonly (Made & { platform?: object })[]) =>
  made({
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: children.map(({ bytes, ...child }) => ({ mediaType: imageType, size: bytes.byteLength, ...child })),
  });

async function putManifest({ digest, bytes }: Made, at = target): Promise<void> {
  await parts.manifests.store(digest, bytes);
  await links.prove(at.place, 'manifest', { digest, mediaType: imageType, size: bytes.byteLength });
}

async function putBlob(text: string, at = target): Promise<void> {
  const { digest, size, mediaType } = descriptor(text);
  await storage.blobs.put({ digest, bytes: Buffer.from(text), signal });
  await links.prove(at.place, 'blob', { digest, size, mediaType });
}

describe('an image is complete', () => {
  const amd64 = image('config amd64', [descriptor('layer amd64'), descriptor('shared')]);
  const arm64 = image('config arm64', [descriptor('layer arm64'), descriptor('shared')]);

  it('when its manifest, config and layers are here', async () => {
    expect(await isComplete(target, amd64.digest, signal)).toBe(false);
    await putManifest(amd64);
    for (const text of ['config amd64', 'layer amd64', 'shared']) {
      expect(await isComplete(target, amd64.digest, signal)).toBe(false);
      await putBlob(text);
    }
    expect(await isComplete(target, amd64.digest, signal)).toBe(true);
    expect(storage.openBlobs()).toBe(0);
  });

  it('for the repository that proved to hold it, for no other', async () => {
    const other = targetAt('team/other');
    await putManifest(amd64);
    for (const text of ['config amd64', 'layer amd64', 'shared']) await putBlob(text);
    expect(await isComplete(other, amd64.digest, signal)).toBe(false);
    await putManifest(amd64, other);
    expect(await isComplete(other, amd64.digest, signal)).toBe(false);
    for (const text of ['config amd64', 'layer amd64', 'shared']) await putBlob(text, other);
    expect(await isComplete(other, amd64.digest, signal)).toBe(true);
  });

  it('of several platforms when one of them is', async () => {
    const both = index([amd64, arm64]);
    await putManifest(both);
    for (const text of ['config arm64', 'layer arm64', 'shared']) await putBlob(text);
    expect(await isComplete(target, both.digest, signal)).toBe(false);
    await putManifest(arm64);
    expect(await isComplete(target, both.digest, signal)).toBe(true);
  });

  it('of a platform when that is, not when its attestation is', async () => {
    const attestation = image('config attestation', [descriptor('statement')]);
    const on = (child: Made, os: string, architecture: string) => ({ ...child, platform: { os, architecture } });
    const both = index([on(amd64, 'linux', 'amd64'), on(attestation, 'unknown', 'unknown')]);
    const unnamed = index([amd64, on(attestation, 'unknown', 'unknown')]);
    const alone = index([on(attestation, 'unknown', 'unknown')]);
    for (const manifest of [attestation, both, unnamed, alone]) await putManifest(manifest);
    for (const text of ['config attestation', 'statement']) await putBlob(text);
    const whole = () => Promise.all([both, unnamed, alone].map(({ digest }) => isComplete(target, digest, signal)));
    expect(await whole()).toEqual([false, false, true]);
    await putManifest(amd64);
    for (const text of ['config amd64', 'layer amd64', 'shared']) await putBlob(text);
    expect(await whole()).toEqual([true, true, true]);
  });

  it('37: without its foreign layers', async () => {
    const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar';
    const windows = image('config', [{ ...descriptor('foreign'), mediaType, urls: ['https://x/'] }]);
    await putManifest(windows);
    await putBlob('config');
    expect(await isComplete(target, windows.digest, signal)).toBe(true);
  });

  it('as an index of nothing', async () => {
    const empty = index([]);
    await putManifest(empty);
    expect(await isComplete(target, empty.digest, signal)).toBe(true);
  });
});

describe('an image is not complete', () => {
  const one = image('config', []);

  it('as far as a store that fails can tell, which is an event', async () => {
    await putManifest(one);
    await putBlob('config');
    storage.on('blobs.open', { fail: 'away' });
    expect(await isComplete(target, one.digest, signal)).toBe(false);
    expect(events).toMatchObject([{ type: 'store-failed', operation: 'open', error: 'away' }]);
  });

  it('when this release cannot read its manifest', async () => {
    const bytes = Buffer.from(seededBytes('no manifest', 100));
    await putManifest({ bytes, digest: digestOf(bytes) });
    expect(await isComplete(target, digestOf(bytes), signal)).toBe(false);
  });

  it('for a caller who left: that one is told by its own signal', async () => {
    await putManifest(one);
    await putBlob('config');
    storage.on('blobs.open', { hang: true });
    const caller = new AbortController();
    const checking = isComplete(target, one.digest, caller.signal);
    caller.abort(new Error('the client left'));
    await expect(checking).rejects.toThrow('the client left');
    expect(events).toEqual([]);
  });
});

describe('an index or image made to be looked at without an end', () => {
  it('that names one layer five thousand times has it looked at once', async () => {
    const bomb = image('config', Array(5_000).fill(descriptor('layer')));
    await putManifest(bomb);
    for (const text of ['config', 'layer']) await putBlob(text);
    expect(await isComplete(target, bomb.digest, signal)).toBe(true);
    expect(storage.calls('blobs.open')).toBe(2);
  });

  it('that names ten thousand manifests, none of which is here, is given up after 2,000', async () => {
    const bomb = index(Array.from({ length: 10_000 }, (_, at) => image(`config ${at}`, [])));
    await putManifest(bomb);
    expect(await isComplete(target, bomb.digest, signal)).toBe(false);
    expect(storage.calls('metadata.get')).toBeLessThanOrEqual(2_001);
  });

  it('that names itself, or one that names it, is not complete', async () => {
    const self = made({ mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] });
    const other = index([self]);
    const naming = (child: Made) => index([child]).bytes;
    // No content can hold its own digest: what is here claims to.
    const claimed = new Map([
      [self.digest, naming(other)],
      [other.digest, naming(self)],
    ]);
    for (const { digest } of [self, other]) await putManifest({ digest, bytes: Buffer.from('{}') });
    const load = async (digest: Digest) => claimed.get(digest);
    const check = createIsComplete({ ...parts, manifests: { ...parts.manifests, load } });
    expect(await check(target, self.digest, signal)).toBe(false);
    claimed.set(self.digest, naming(self));
    expect(await check(target, self.digest, signal)).toBe(false);
  });

  it('as a chain of indexes is not followed to its end', async () => {
    let chain = image('config', []);
    await putBlob('config');
    for (let depth = 0; depth < 2_500; depth++) {
      await putManifest(chain);
      chain = index([chain]);
    }
    await putManifest(chain);
    expect(await isComplete(target, chain.digest, signal)).toBe(false);
  });
});

it('looks at a manifest once, by however many ways indexes lead to it', async () => {
  let level: [Made, Made] = [image('a', []), image('b', [])];
  for (let depth = 0; depth < 60; depth++) {
    level = [index(level), index([level[1], level[0]])];
    for (const one of level) await putManifest(one);
  }
  expect(await isComplete(target, level[0].digest, signal)).toBe(false);
});
