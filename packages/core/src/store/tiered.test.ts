import { setMaxListeners } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blobStoreContract, casesOf } from '@proxycache/contract';
import { type FlakyStorage, flakyStore, gate, manualClock, openFiles } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Digest, digestHex, digestOf } from '../oci/digest.ts';
import type { BlobStore, OpenBlob } from './blob-store.ts';
import { fileStorage } from './file-storage.ts';
import { fileBlobs } from './local-blobs.ts';
import { memoryStorage } from './memory-storage.ts';
import { tiered } from './tiered.ts';

const MiB = 1024 * 1024;
const { signal } = new AbortController();
// Many calls use it at a time.
setMaxListeners(0, signal);
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tiered-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const newFolder = () => mkdtempSync(join(directory, 'folder-'));

/** As a store over a network gives them. */
function streaming(blobs: BlobStore): BlobStore {
  return {
    ...blobs,
    async open(digest, options) {
      const blob = await blobs.open(digest, options);
      if (blob?.kind !== 'file') return blob;
      const { from, to } = options.range ?? { from: 0, to: blob.size - 1 };
      async function* body() {
        for (let at = from; at <= to; at += 64 * 1024) {
          const chunk = Buffer.alloc(Math.min(64 * 1024, to + 1 - at));
          await (blob as Extract<OpenBlob, { kind: 'file' }>).read(chunk, at);
          yield chunk;
        }
      }
      return { kind: 'stream', size: blob.size, body: body(), close: () => blob.close() };
    },
  };
}

describe.each<[string, () => BlobStore]>([
  ['fileBlobs', () => fileBlobs(newFolder())],
  ['fileBlobs with a bound', () => fileBlobs(newFolder(), { maxBytes: 1e9 })],
  ['tiered: files over memory', () => tiered({ local: fileBlobs(newFolder()), remote: memoryStorage().blobs })],
  [
    'tiered: files over a stream',
    () => tiered({ local: fileBlobs(newFolder(), { maxBytes: 1e9 }), remote: streaming(memoryStorage().blobs) }),
  ],
  ['tiered: files over files', () => tiered({ local: fileBlobs(newFolder()), remote: fileStorage(newFolder()).blobs })],
  [
    'tiered: too few bytes over a stream',
    () => tiered({ local: fileBlobs(newFolder(), { maxBytes: 2_000 }), remote: streaming(memoryStorage().blobs) }),
  ],
])('%s', (_, makeStore) => {
  const make = async () => ({ store: makeStore(), close: async () => undefined });
  for (const { name, run } of casesOf(blobStoreContract)) test(name, () => run(make));
});

function content(seed: number, size: number) {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE((at * 2_654_435_761 + seed) % 2 ** 32, at);
  return { bytes, digest: digestOf(bytes), size };
}

async function read(blobs: BlobStore, digest: Digest): Promise<Buffer | undefined> {
  const blob = await blobs.open(digest, { signal });
  if (!blob) return undefined;
  try {
    if (blob.kind === 'stream') {
      const chunks = [];
      for await (const chunk of blob.body) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks);
    }
    const bytes = Buffer.alloc(blob.size);
    for (let at = 0; at < blob.size; ) {
      const length = await blob.read(bytes.subarray(at, at + 256 * 1024), at);
      if (length === 0) throw new Error(`it ends at ${at}`);
      at += length;
    }
    return bytes;
  } finally {
    await blob.close();
  }
}

const put = (blobs: BlobStore, { digest, bytes }: ReturnType<typeof content>) => blobs.put({ digest, bytes, signal });
const isIn = (folder: string, digest: Digest) => existsSync(join(folder, 'blobs/sha256', digestHex(digest)));
const temporary = (folder: string) => readdirSync(join(folder, 'tmp'));

describe('fileBlobs with a bound', () => {
  const clock = manualClock();
  const blobs = Array.from({ length: 12 }, (_, seed) => content(seed, 1_000));

  test('drops what was not used for the longest, until a tenth is free', async () => {
    const folder = newFolder();
    const store = fileBlobs(folder, { maxBytes: 10_000, clock });
    for (const blob of blobs.slice(0, 10)) await put(store, blob);
    // Used again: the second is the oldest now.
    await read(store, blobs[0]!.digest);
    await put(store, blobs[10]!);
    await expect.poll(() => blobs.filter(({ digest }) => isIn(folder, digest)).length).toBe(9);
    expect(blobs.map(({ digest }) => isIn(folder, digest))).toEqual([
      true,
      false,
      false,
      ...Array.from({ length: 8 }, () => true),
      false,
    ]);
  });

  test('drops nothing that is open', async () => {
    const folder = newFolder();
    const store = fileBlobs(folder, { maxBytes: 3_000, clock });
    for (const blob of blobs.slice(0, 3)) await put(store, blob);
    const opened = await store.open(blobs[0]!.digest, { signal });
    for (const blob of blobs.slice(3, 8)) await put(store, blob);
    await expect.poll(() => blobs.filter(({ digest }) => isIn(folder, digest)).length).toBe(2);
    expect(isIn(folder, blobs[0]!.digest)).toBe(true);
    await opened?.close();
  });

  test('counts what is there at the start, and knows its last use', async () => {
    const folder = newFolder();
    const before = fileBlobs(folder, { clock });
    for (const blob of blobs.slice(0, 8)) await put(before, blob);
    const hour = 3_600;
    for (const [index, { digest }] of blobs.slice(0, 8).entries()) {
      const path = join(folder, 'blobs/sha256', digestHex(digest));
      // The first ones were used last.
      utimesSync(path, 1_000_000_000 - index * hour, 1_000_000_000);
    }
    fileBlobs(folder, { maxBytes: 5_000, clock });
    await expect.poll(() => blobs.filter(({ digest }) => isIn(folder, digest)).length).toBe(4);
    expect(blobs.slice(0, 4).every(({ digest }) => isIn(folder, digest))).toBe(true);
  });

  test('the folder grew beyond its bound when the wall clock was set back', async () => {
    const folder = newFolder();
    const own = manualClock();
    const store = fileBlobs(folder, { maxBytes: 5_000, clock: own });
    for (const blob of blobs.slice(0, 5)) await put(store, blob);
    own.set(own.now() - 3_600_000);
    for (const blob of blobs.slice(5)) await put(store, blob);
    await expect.poll(() => blobs.filter(({ digest }) => isIn(folder, digest)).length).toBeLessThanOrEqual(5);
    expect(isIn(folder, blobs[11]!.digest)).toBe(true);
  });

  test('keeps what is stored again while it is being dropped', async () => {
    const folder = newFolder();
    const store = fileBlobs(folder, { maxBytes: 10_000, clock });
    for (const blob of blobs.slice(0, 11)) await put(store, blob);
    // The first is on its way out by now.
    await put(store, blobs[0]!);
    expect(await read(store, blobs[0]!.digest)).toEqual(blobs[0]!.bytes);
    await expect.poll(() => blobs.filter(({ digest }) => isIn(folder, digest)).length).toBeLessThanOrEqual(10);
    expect(isIn(folder, blobs[0]!.digest)).toBe(true);
  });

  test('refuses a bound that is none, and no folder', () => {
    expect(() => fileBlobs(newFolder(), { maxBytes: 0 })).toThrow('fileBlobs: maxBytes');
    expect(() => fileBlobs('')).toThrow('expected a folder');
  });
});

describe('tiered', () => {
  let folder: string;
  let remote: FlakyStorage;
  let store: BlobStore;
  const large = content(99, 20 * MiB);
  const small = content(98, 100_000);

  beforeEach(() => {
    folder = newFolder();
    remote = flakyStore(memoryStorage());
    store = tiered({ local: fileBlobs(folder, { maxBytes: 30 * MiB }), remote: streaming(remote.blobs) });
  });
  afterEach(() => rmSync(remote.spoolDirectory, { recursive: true }));

  test('has what it stored local at once, and reads it while the remote store is away', async () => {
    const file = join(directory, 'spooled');
    writeFileSync(file, large.bytes);
    await store.adopt({ ...large, file, signal });
    await put(store, small);
    expect([large, small].map(({ digest }) => isIn(folder, digest))).toEqual([true, true]);
    remote.on('blobs.open', { fail: 'away' });
    expect((await read(store, large.digest))?.equals(large.bytes)).toBe(true);
    expect(await read(store, small.digest)).toEqual(small.bytes);
    expect(remote.calls('blobs.open')).toBe(0);
    await expect(read(store, content(1, 10).digest)).rejects.toThrow('away');
    expect(temporary(folder)).toEqual([]);
  });

  test('stores nothing that the remote store refuses', async () => {
    const file = join(directory, 'spooled');
    writeFileSync(file, small.bytes);
    remote.on('blobs.adopt', { fail: 'away' });
    await expect(store.adopt({ ...small, file, signal })).rejects.toThrow('away');
    expect(existsSync(file)).toBe(true);
    expect(isIn(folder, small.digest)).toBe(false);
    expect(temporary(folder)).toEqual([]);
  });

  test('fills in what is read, once for all who read it', async () => {
    await put(remote.blobs, large);
    const copies = await Promise.all(Array.from({ length: 8 }, () => read(store, large.digest)));
    for (const copy of copies) expect(copy?.equals(large.bytes)).toBe(true);
    await expect.poll(() => isIn(folder, large.digest)).toBe(true);
    // Each of them opened it; one read it. What some could not wait for is little.
    expect(remote.bytesRead()).toBeLessThan(2 * large.size);
    const asked = remote.calls('blobs.open');
    expect((await read(store, large.digest))?.equals(large.bytes)).toBe(true);
    expect(remote.calls('blobs.open')).toBe(asked);
    expect(temporary(folder)).toEqual([]);
    await expect.poll(() => [remote.openBlobs(), openFiles(folder)]).toEqual([0, []]);
  });

  test('gives the first bytes before the last have come', async () => {
    await put(remote.blobs, large);
    const blob = await store.open(large.digest, { signal });
    if (blob?.kind !== 'file') throw new Error('not readable at any position');
    const first = Buffer.alloc(1_000);
    await blob.read(first, 0);
    expect(first.equals(large.bytes.subarray(0, 1_000))).toBe(true);
    expect(isIn(folder, large.digest)).toBe(false);
    // Far ahead of what has come.
    const last = Buffer.alloc(2_000);
    expect(await blob.read(last, large.size - 1_000)).toBe(1_000);
    expect(last.subarray(0, 1_000).equals(large.bytes.subarray(-1_000))).toBe(true);
    await blob.close();
    await expect.poll(() => isIn(folder, large.digest)).toBe(true);
  });

  test('fills in nothing for a HEAD, or for a part in the middle', async () => {
    await put(remote.blobs, large);
    const blob = await store.open(large.digest, { signal });
    expect(blob?.size).toBe(large.size);
    await blob?.close();
    const other = await store.open(large.digest, { signal });
    if (other?.kind !== 'file') throw new Error('not readable at any position');
    const part = Buffer.alloc(100_000);
    for (const at of [5 * MiB, 5 * MiB + 100_000, 15 * MiB]) {
      await other.read(part, at);
      expect(part.equals(large.bytes.subarray(at, at + 100_000))).toBe(true);
    }
    await other.close();
    // Those that go on where the one before ended are one question.
    expect(remote.calls('blobs.open')).toBe(4);
    expect(remote.openBlobs()).toBe(0);
    expect([isIn(folder, large.digest), temporary(folder)]).toEqual([false, []]);
  });

  test.each([
    ['from its beginning', 0],
    ['in the middle', 9 * MiB],
  ])('gives what has come of a slow remote store, read %s, before its reader gives it up', async (_, position) => {
    const clock = manualClock();
    const asked = gate();
    const slow: BlobStore = {
      ...remote.blobs,
      async open(_digest, { range }) {
        const { from } = range ?? { from: 0 };
        async function* body() {
          yield large.bytes.subarray(from, from + 1_000);
          await clock.advance(500);
          yield large.bytes.subarray(from + 1_000, from + 2_000);
          await clock.advance(500);
          await asked.pass();
        }
        return { kind: 'stream', size: large.size, body: body(), close: async () => asked.open() };
      },
    };
    const blob = await tiered({ local: fileBlobs(folder), remote: slow, clock }).open(large.digest, { signal });
    if (blob?.kind !== 'file') throw new Error('not readable at any position');
    const into = Buffer.alloc(256 * 1024);
    expect(await blob.read(into, position)).toBe(2_000);
    expect(into.subarray(0, 2_000).equals(large.bytes.subarray(position, position + 2_000))).toBe(true);
    asked.open();
    await blob.close();
  });

  test('a connection of the remote store that stood still kept a blob from all who read it', async () => {
    const clock = manualClock();
    await put(remote.blobs, large);
    const streams = streaming(remote.blobs);
    const standing = gate();
    const stalling: BlobStore = {
      ...streams,
      async open(digest, options) {
        const blob = await streams.open(digest, options);
        // The one that is filled in, and the first beside it.
        if (blob?.kind !== 'stream' || remote.calls('blobs.open') > 2) return blob;
        async function* body() {
          if (!options.range) yield large.bytes.subarray(0, 1_000);
          await standing.pass();
        }
        return { ...blob, body: body() };
      },
    };
    const blob = await tiered({ local: fileBlobs(folder), remote: stalling, clock }).open(large.digest, { signal });
    if (blob?.kind !== 'file') throw new Error('not readable at any position');
    const into = Buffer.alloc(256 * 1024);
    const first = blob.read(into, 0);
    await standing.reached;
    await clock.advance(1_000);
    expect(await first).toBe(1_000);
    const second = blob.read(into, 1_000);
    await clock.advance(1_000);
    await standing.reachedBy(2);
    await clock.advance(1_000);
    const length = await second;
    expect(length).toBeGreaterThan(0);
    expect(into.subarray(0, length).equals(large.bytes.subarray(1_000, 1_000 + length))).toBe(true);
    // Nobody waits again for what stands still.
    expect(await blob.read(into, 1_000 + length)).toBe(into.byteLength);
    expect(remote.calls('blobs.open')).toBe(3);
    standing.open();
    await blob.close();
    await expect.poll(() => [temporary(folder), remote.openBlobs()]).toEqual([[], 0]);
  });

  test('keeps nothing of a fill that breaks off, and its reader has all', async () => {
    await put(remote.blobs, large);
    const blob = await store.open(large.digest, { signal });
    if (blob?.kind !== 'file') throw new Error('not readable at any position');
    await blob.read(Buffer.alloc(1_000), 0);
    remote.on('blobs.read', { fail: 'cut off', times: 1 });
    const bytes = Buffer.alloc(large.size);
    for (let at = 0; at < large.size; at += MiB) {
      const part = bytes.subarray(at, at + MiB);
      // Who asks while the remote store fails may be told so.
      await blob.read(part, at).catch(() => blob.read(part, at));
    }
    expect(bytes.equals(large.bytes)).toBe(true);
    await blob.close();
    await expect.poll(() => temporary(folder)).toEqual([]);
    expect(isIn(folder, large.digest)).toBe(false);
    await expect.poll(() => [remote.openBlobs(), openFiles(folder)]).toEqual([0, []]);
  });

  test('never makes wrong bytes of the remote store local', async () => {
    await remote.blobs.put({ digest: small.digest, bytes: Buffer.from(small.bytes).fill(1, 0, 10), signal });
    await read(store, small.digest);
    await expect.poll(() => [temporary(folder), remote.openBlobs()]).toEqual([[], 0]);
    expect(isIn(folder, small.digest)).toBe(false);
  });

  test('reads on from the remote store where the local file is short', async () => {
    await put(store, small);
    truncateSync(join(folder, 'blobs/sha256', digestHex(small.digest)), 50_000);
    const blob = await store.open(small.digest, { signal });
    // What it has of it counts; a whole one is filled in by the next who reads.
    await blob?.close();
    const local = fileBlobs(newFolder());
    const failing = { ...local, open: async () => brokenBlob(small.size) };
    const other = tiered({ local: failing, remote: streaming(remote.blobs) });
    expect(await read(other, small.digest)).toEqual(small.bytes);
  });

  test('goes on without a local disk that takes nothing, or does not answer', async () => {
    const local = fileBlobs(newFolder());
    const fail = async () => {
      throw new Error('no space');
    };
    const full = tiered({ local: { ...local, adopt: fail, put: fail, open: fail }, remote: streaming(remote.blobs) });
    const file = join(directory, 'spooled');
    writeFileSync(file, small.bytes);
    await full.adopt({ ...small, file, signal });
    await put(full, content(5, 10));
    expect(await read(full, small.digest)).toEqual(small.bytes);
    const clock = manualClock();
    const hanging = { ...local, open: () => new Promise<undefined>(() => undefined) };
    const slow = tiered({ local: hanging, remote: streaming(remote.blobs), clock });
    const reading = read(slow, small.digest);
    await expect.poll(() => clock.advance(100).then(() => Promise.race([reading, undefined]))).toBeDefined();
    expect(await reading).toEqual(small.bytes);
  });

  test('keeps out of the local store what does not fit', async () => {
    const other = newFolder();
    const narrow = tiered({ local: fileBlobs(other, { maxBytes: 50_000 }), remote: streaming(remote.blobs) });
    await put(narrow, small);
    expect(await read(narrow, small.digest)).toEqual(small.bytes);
    expect([isIn(other, small.digest), temporary(other)]).toEqual([false, []]);
  });

  test('blobs that were filled in at a time took many times the room of the local store', async () => {
    const blobs = Array.from({ length: 6 }, (_, seed) => content(seed, 3_000));
    for (const blob of blobs) await put(remote.blobs, blob);
    const other = newFolder();
    const coming = gate();
    const streams = streaming(remote.blobs);
    const slow: BlobStore = {
      ...streams,
      async open(digest, options) {
        const blob = await streams.open(digest, options);
        if (blob?.kind !== 'stream' || options.range) return blob;
        const { body } = blob;
        async function* held() {
          await coming.pass();
          yield* body;
        }
        return { ...blob, body: held() };
      },
    };
    const narrow = tiered({ local: fileBlobs(other, { maxBytes: 10_000 }), remote: slow });
    const opened = await Promise.all(blobs.map(({ digest }) => narrow.open(digest, { signal })));
    const reading = opened.map(async (blob) => blob?.kind === 'file' && (await blob.read(Buffer.alloc(3_000), 0)));
    // Those that do not fit are read at once.
    await Promise.all(reading.slice(3));
    await coming.reachedBy(3);
    expect([coming.arrivals, temporary(other)]).toEqual([
      3,
      [expect.any(String), expect.any(String), expect.any(String)],
    ]);
    coming.open();
    await Promise.all(reading);
    // There is room again.
    await expect.poll(() => temporary(other)).toEqual([]);
    expect(await read(narrow, blobs[5]!.digest)).toEqual(blobs[5]!.bytes);
    await expect.poll(() => isIn(other, blobs[5]!.digest)).toBe(true);
    await Promise.all(opened.map((blob) => blob?.close()));
  });

  test('a scrub filled the local store with what it read, and counted as a use of it', async () => {
    const clock = manualClock();
    const blobs = Array.from({ length: 11 }, (_, seed) => content(seed, 1_000));
    const other = newFolder();
    const narrow = tiered({ local: fileBlobs(other, { maxBytes: 10_000, clock }), remote: remote.blobs, clock });
    for (const blob of blobs.slice(0, 10)) await put(narrow, blob);
    await put(remote.blobs, large);
    const first = await narrow.open(blobs[0]!.digest, { forScrub: true, signal });
    expect(first).toMatchObject({ size: 1_000, copies: [{ size: 1_000 }] });
    const rest = await narrow.open(large.digest, { forScrub: true, signal });
    if (rest?.kind !== 'file') throw new Error('not readable at any position');
    expect(await rest.read(Buffer.alloc(1_000), 0)).toBe(1_000);
    expect([rest.copies, temporary(other)]).toEqual([undefined, []]);
    await Promise.all([first?.close(), rest.close()]);
    // The first is the oldest still.
    await put(narrow, blobs[10]!);
    await expect.poll(() => blobs.filter(({ digest }) => isIn(other, digest)).length).toBe(9);
    expect(isIn(other, blobs[0]!.digest)).toBe(false);
    await expect.poll(() => [remote.openBlobs(), openFiles(other)]).toEqual([0, []]);
  });

  test('does not bring back by a fill what was deleted meanwhile', async () => {
    await put(remote.blobs, large);
    const blob = await store.open(large.digest, { signal });
    if (blob?.kind !== 'file') throw new Error('not readable at any position');
    await blob.read(Buffer.alloc(1_000), 0);
    expect(await store.delete(large.digest, { signal })).toBe(true);
    await blob.close();
    await expect.poll(() => temporary(folder)).toEqual([]);
    expect(isIn(folder, large.digest)).toBe(false);
    expect(await read(store, large.digest)).toBeUndefined();
  });
});

function brokenBlob(size: number): OpenBlob {
  const read = async () => {
    throw new Error('EIO');
  };
  return { kind: 'file', size, read, close: async () => undefined };
}

describe('a copy that rotted on the local disk took the right one of the remote store with it', () => {
  const wrong = Buffer.alloc(1_000, 'x');

  test('what the remote store has stays where it is right', async () => {
    const [local, remote] = [fileBlobs(newFolder()), memoryStorage().blobs];
    const blobs = tiered({ local, remote });
    const blob = content(1, 1_000);
    await put(blobs, blob);
    await local.put({ digest: blob.digest, bytes: wrong, signal });
    expect(await read(blobs, blob.digest)).toEqual(wrong);
    // Two readers find it wrong at the same time.
    const taken = await Promise.all([1, 2].map(() => blobs.quarantine(blob.digest, { signal })));
    expect(taken).toEqual([true, false]);
    expect(await read(blobs, blob.digest)).toEqual(blob.bytes);
  });

  test('what is wrong in both is taken out of both', async () => {
    const [local, remote] = [fileBlobs(newFolder()), memoryStorage().blobs];
    const blobs = tiered({ local, remote });
    const { digest } = content(1, 1_000);
    await blobs.put({ digest, bytes: wrong, signal });
    expect(await blobs.quarantine(digest, { signal })).toBe(true);
    expect(await Promise.all([local, remote].map((tier) => read(tier, digest)))).toEqual([undefined, undefined]);
  });

  test('what the remote store spares, whose instants are coarser, was not taken', async () => {
    const [local, remote] = [fileBlobs(newFolder()), memoryStorage().blobs];
    const sparing: BlobStore = {
      ...remote,
      quarantine: async (digest, options) =>
        options.unlessStoredAfter === undefined && (await remote.quarantine(digest, options)),
    };
    const blobs = tiered({ local, remote: sparing });
    const { digest } = content(1, 1_000);
    await blobs.put({ digest, bytes: wrong, signal });
    expect(await blobs.quarantine(digest, { unlessStoredAfter: Date.now() + 60_000, signal })).toBe(false);
    expect(await blobs.quarantine(digest, { signal })).toBe(true);
    expect(await read(blobs, digest)).toBeUndefined();
  });

  test('a local store that fails kept wrong bytes in the remote one', async () => {
    const fails = async () => Promise.reject(new Error('broken'));
    const local = { ...fileBlobs(newFolder()), open: fails, quarantine: fails };
    const remote = memoryStorage().blobs;
    const blobs = tiered({ local, remote });
    const { digest } = content(1, 1_000);
    await remote.put({ digest, bytes: wrong, signal });
    expect(await blobs.quarantine(digest, { signal })).toBe(true);
    expect(await read(remote, digest)).toBeUndefined();
    await expect(blobs.quarantine(digest, { signal })).rejects.toThrow('broken');
  });

  test('a remote store that fails leaves what it has, and the local copy goes', async () => {
    const local = fileBlobs(newFolder());
    const flaky = flakyStore(memoryStorage());
    const blobs = tiered({ local, remote: flaky.blobs });
    const { digest } = content(1, 1_000);
    await blobs.put({ digest, bytes: wrong, signal });
    flaky.on('blobs.open', { fail: 'away' });
    expect(await blobs.quarantine(digest, { signal })).toBe(true);
    expect(await read(local, digest)).toBeUndefined();
    await expect(blobs.quarantine(digest, { signal })).rejects.toThrow('away');
  });
});
