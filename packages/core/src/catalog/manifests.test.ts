import { setImmediate } from 'node:timers/promises';
import { flakyStore, gate, manualClock, seededBytes } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Digest, digestOf } from '../oci/digest.ts';
import { mediaTypes } from '../oci/media-type.ts';
import type { StoreEvent } from '../store/events.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import { createManifests, type Manifests } from './manifests.ts';

const { signal } = new AbortController();
let storage: ReturnType<typeof flakyStore>;
let events: StoreEvent[];
let manifests: Manifests;
const clock = manualClock();

beforeEach(() => {
  storage = flakyStore(memoryStorage({ clock }));
  events = [];
  manifests = create();
});

/** Manifests as this process has them after a restart. */
function create(maxBytes = 1_000_000): Manifests {
  return createManifests({
    blobs: storage.blobs,
    maxBytes,
    maxManifestBytes: () => 4_194_304,
    clock,
    observe: (event) => events.push(event),
  });
}

const imageType = 'application/vnd.oci.image.manifest.v1+json';

function descriptor(text: string, extra: object = {}) {
  const bytes = Buffer.from(text);
  return { mediaType: mediaTypes.blob, digest: digestOf(bytes), size: bytes.byteLength, ...extra };
}

function image(config: string, layers: object[]): { bytes: Buffer; digest: Digest } {
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: imageType, config: descriptor(config), layers }),
  );
  return { bytes, digest: digestOf(bytes) };
}

describe('the bytes of a manifest', () => {
  const one = image('config', [descriptor('layer')]);

  it('are here, and after a restart, verbatim', async () => {
    await manifests.store(one.digest, one.bytes);
    for (const known of [manifests, create()]) {
      expect(Buffer.from((await known.load(one.digest, signal))!).equals(one.bytes)).toBe(true);
    }
    expect(storage.openBlobs()).toBe(0);
  });

  it('are given to nobody before the store has them; what they need is known by then', async () => {
    const held = gate();
    storage.on('blobs.put', { gate: held, times: 1 });
    const storing = manifests.store(one.digest, one.bytes);
    await held.reached;
    const loaded = manifests.load(one.digest, signal);
    expect(manifests.held(one.digest)).toBeUndefined();
    expect(await Promise.race([loaded, setImmediate('not yet')])).toBe('not yet');
    expect(manifests.peek(one.digest)).toBe(one.bytes);
    held.open();
    await storing;
    expect(await loaded).toBe(one.bytes);
    expect(manifests.held(one.digest)).toBe(one.bytes);
  });

  it('are not taken back while they are stored again', async () => {
    await manifests.store(one.digest, one.bytes);
    const held = gate();
    storage.on('blobs.put', { gate: held });
    const again = manifests.store(one.digest, Buffer.from(one.bytes));
    await held.reached;
    expect(manifests.held(one.digest)).toBeDefined();
    expect(await manifests.load(one.digest, signal)).toBeDefined();
    held.open();
    await again;
  });

  it('are served from memory without asking the store', async () => {
    await manifests.store(one.digest, one.bytes);
    await manifests.load(one.digest, signal);
    expect(storage.calls('blobs.open')).toBe(0);
  });

  it.each(['sha256', 'sha512'])('are verified when they come from the store (%s)', async (algorithm) => {
    const digest = digestOf(one.bytes, algorithm);
    await storage.blobs.put({ digest, bytes: Buffer.concat([one.bytes, Buffer.from(' ')]), signal });
    expect(await manifests.load(digest, signal)).toBeUndefined();
    const size = one.bytes.byteLength + 1;
    expect(events).toEqual([{ type: 'blob-quarantined', digest, size, reason: 'wrong-bytes' }]);
    // Out of sight, so that the right ones take their place.
    expect(await storage.blobs.open(digest, { signal })).toBeUndefined();
    await manifests.store(digest, one.bytes);
    expect(await create().load(digest, signal)).toBeDefined();
  });

  it.each([
    ['ended short without an error', 9, one.bytes.subarray(1), 0, [{ type: 'store-failed', operation: 'open' }]],
    ['were read wrong once', 1, Buffer.alloc(one.bytes.byteLength), 1, []],
  ])('that %s are not put aside', async (_, times, body, right, told) => {
    await storage.blobs.put({ digest: one.digest, bytes: one.bytes, signal });
    const { open } = storage.blobs;
    let opened = 0;
    storage.blobs.open = async (digest, options) => {
      if (++opened > times) return await open(digest, options);
      const chunks = (async function* () {
        yield body;
      })();
      return { kind: 'stream', size: one.bytes.byteLength, body: chunks, close: async () => undefined };
    };
    expect([await manifests.load(one.digest, signal)].filter(Boolean)).toHaveLength(right);
    expect(events).toMatchObject(told);
    expect(storage.calls('blobs.quarantine')).toBe(0);
  });

  it('that are not here are none', async () => {
    expect(await manifests.load(one.digest, signal)).toBeUndefined();
    expect(events).toEqual([]);
  });

  it('that are wrong and cannot be put aside are replaced all the same', async () => {
    const wrong = Buffer.from(one.bytes).fill('x', 0, 1);
    await storage.blobs.put({ digest: one.digest, bytes: wrong, signal });
    storage.on('blobs.quarantine', { fail: 'not allowed' });
    expect(await manifests.load(one.digest, signal)).toBeUndefined();
    expect(events).toMatchObject([{ type: 'store-failed', operation: 'quarantine' }]);
    await manifests.store(one.digest, one.bytes);
    expect(Buffer.from((await create().load(one.digest, signal))!).equals(one.bytes)).toBe(true);
  });

  it.each(['blobs.open', 'blobs.read', 'blobs.put'] as const)(
    'are none, or only in memory, where %s fails',
    async (operation) => {
      storage.on(operation, { fail: 'away' });
      await manifests.store(one.digest, one.bytes);
      expect(await manifests.load(one.digest, signal)).toBeDefined();
      expect(await create().load(one.digest, signal)).toBeUndefined();
      expect(events).toMatchObject([{ type: 'store-failed', error: 'away' }]);
      expect(storage.openBlobs()).toBe(0);
    },
  );

  it('are kept up to so many bytes, none of them included', async () => {
    const nothing = create(0);
    await nothing.store(one.digest, one.bytes);
    expect(await nothing.load(one.digest, signal)).toBeDefined();
    expect(storage.calls('blobs.open')).toBe(1);
    const some = create(2.5 * one.bytes.byteLength);
    const others = ['a', 'b', 'c'].map((text) => image(text, [descriptor(text)]));
    for (const { digest, bytes } of others) await some.store(digest, bytes);
    const before = storage.calls('blobs.open');
    for (const { digest } of others) expect(await some.load(digest, signal)).toBeDefined();
    expect(storage.calls('blobs.open')).toBeGreaterThan(before);
  });

  it('that are absurdly long are not what was stored', async () => {
    const blob = { kind: 'file', size: 1e12, read: async () => 0, close: async () => undefined } as const;
    const blobs = { ...storage.blobs, open: async () => blob };
    const careful = createManifests({
      blobs,
      maxBytes: 1000,
      maxManifestBytes: () => 4_194_304,
      clock,
      observe: () => undefined,
    });
    expect(await careful.load(one.digest, signal)).toBeUndefined();
  });

  it('do not fail for a caller who left: that one is told by its own signal', async () => {
    storage.on('blobs.open', { hang: true });
    const caller = new AbortController();
    const loading = create().load(one.digest, caller.signal);
    caller.abort(new Error('the client left'));
    await expect(loading).rejects.toThrow('the client left');
    expect(events).toEqual([]);
  });
});

describe('an image', () => {
  const amd64 = image('config amd64', [descriptor('layer amd64'), descriptor('shared')]);

  it('tells the sizes of its blobs, and which manifest says so', async () => {
    const layer = descriptor('layer amd64');
    expect(manifests.sizesOf(layer.digest)).toEqual([]);
    await manifests.store(amd64.digest, amd64.bytes);
    expect(manifests.sizesOf(layer.digest)).toEqual([{ size: layer.size, manifest: amd64.digest }]);
  });

  it('that tells another size of the same blob does not take the place of what is told already', async () => {
    const layer = descriptor('layer amd64');
    const other = image('config other', [{ ...layer, size: 1e12 }]);
    for (const { digest, bytes } of [amd64, other, amd64]) await manifests.store(digest, bytes);
    expect(manifests.sizesOf(layer.digest)).toEqual([
      { size: layer.size, manifest: amd64.digest },
      { size: 1e12, manifest: other.digest },
    ]);
  });

  it('that this release would not take is served all the same', async () => {
    const bytes = Buffer.from(seededBytes('no manifest', 100));
    await manifests.store(digestOf(bytes), bytes);
    expect(await manifests.load(digestOf(bytes), signal)).toEqual(bytes);
  });
});
