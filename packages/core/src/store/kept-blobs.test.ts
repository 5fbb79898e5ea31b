import { flakyStore, type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Digest, digestOf } from '../oci/digest.ts';
import type { StoreEvent } from './events.ts';
import { createKeptBlobs, type KeptBlobs } from './kept-blobs.ts';
import { memoryStorage } from './memory-storage.ts';
import type { Storage } from './storage.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const { signal } = new AbortController();
let clock: ManualClock;
let memory: Storage;
let storage: ReturnType<typeof flakyStore>;
let events: StoreEvent[];
beforeEach(() => {
  clock = manualClock();
  memory = memoryStorage({ clock });
  storage = flakyStore(memory);
  events = [];
});

interface Blob {
  digest: Digest;
  bytes: Buffer;
}

const keeping = (maxBytes: number) =>
  createKeptBlobs(storage.blobs, { maxBytes, clock, observe: (event) => void events.push(event) });

/** A blob of its own content, which the store has. */
async function stored(name: string, size = KiB): Promise<Blob> {
  const bytes = Buffer.alloc(size, `${name} `);
  const blob = { digest: digestOf(bytes), bytes };
  await storage.blobs.put({ ...blob, signal });
  return blob;
}

/** Has a blob be read twice from the store. @returns whether it was kept, `undefined` where it was not to be */
async function readTwice(blobs: KeptBlobs, { digest, bytes }: Blob): Promise<boolean | undefined> {
  blobs.reserve(digest, bytes.byteLength)?.drop();
  return blobs.reserve(digest, bytes.byteLength)?.keep(Buffer.from(bytes));
}

/** Opens a blob and reads it. @returns whether that was from memory; `undefined`: it is not there */
async function isFromMemory(blobs: KeptBlobs, { digest, bytes }: Blob): Promise<boolean | undefined> {
  const before = storage.bytesRead();
  const opened = await blobs.open(digest, { signal });
  if (opened?.kind !== 'file') return undefined;
  const into = Buffer.alloc(opened.size);
  const length = await opened.read(into, 0);
  expect(into.subarray(0, length)).toEqual(bytes);
  if (opened.bytes) expect(Buffer.from(opened.bytes)).toEqual(bytes);
  await opened.close();
  await expect(opened.read(into, 0)).rejects.toMatchObject({ code: 'storage-failed' });
  expect(storage.bytesRead() - before).toBe(opened.bytes ? 0 : bytes.byteLength);
  return opened.bytes !== undefined;
}

describe('a blob gets room', () => {
  const gets = (blobs: KeptBlobs, digest: Digest, size = KiB) => {
    const room = blobs.reserve(digest, size);
    room?.drop();
    room?.drop();
    return room !== undefined;
  };

  test('when it is read from the store again within a minute, since most are read once', async () => {
    const blobs = keeping(MiB);
    const { digest } = await stored('a');
    expect(gets(blobs, digest)).toBe(false);
    await clock.advance(60_001);
    expect(gets(blobs, digest)).toBe(false);
    await clock.advance(60_000);
    expect(gets(blobs, digest)).toBe(true);
  });

  test.each([
    ['an empty one', 0, 8 * MiB, false],
    ['one of 1 MiB', MiB, 8 * MiB, true],
    ['a longer one', MiB + 1, 8 * MiB, false],
    ['one that takes all there is', KiB, KiB, true],
    ['one for which there is no room at all', KiB + 1, KiB, false],
    ['one where nothing is to be kept', 1, 0, false],
  ])('or not by its length: %s', async (_, size, maxBytes, isWanted) => {
    const blobs = keeping(maxBytes);
    const { digest } = await stored('a', 1);
    gets(blobs, digest, size);
    expect(gets(blobs, digest, size)).toBe(isWanted);
  });

  test('for one reader, however many read it: until it is kept, or that one has left', async () => {
    const blobs = keeping(MiB);
    const { digest, bytes } = await stored('a');
    gets(blobs, digest);
    const room = blobs.reserve(digest, KiB);
    expect(gets(blobs, digest)).toBe(false);
    room!.drop();
    expect(await room!.keep(bytes)).toBeUndefined();
    const next = blobs.reserve(digest, KiB);
    const kept = next!.keep(bytes);
    expect([gets(blobs, digest), await next!.keep(bytes)]).toEqual([false, undefined]);
    expect(await kept).toBe(true);
    next!.drop();
    expect(gets(blobs, digest)).toBe(false);
    expect(await isFromMemory(blobs, { digest, bytes })).toBe(true);
  });
});

describe('a kept blob', () => {
  test('is what its digest says: another is not kept', async () => {
    const blobs = keeping(MiB);
    const blob = await stored('a');
    const wrong = Buffer.from(blob.bytes).fill('x', 5, 6);
    expect(await readTwice(blobs, { ...blob, bytes: wrong })).toBe(false);
    expect(await isFromMemory(blobs, blob)).toBe(false);
    expect(await readTwice(blobs, blob)).toBe(true);
    expect(await isFromMemory(blobs, blob)).toBe(true);
  });

  test('is there for as long as the store has it', async () => {
    const blobs = keeping(MiB);
    const blob = await stored('a');
    await readTwice(blobs, blob);
    const { digest } = blob;
    await storage.blobs.delete(digest, { signal });
    expect(await isFromMemory(blobs, blob)).toBeUndefined();
    await storage.blobs.put({ ...blob, signal });
    expect(await isFromMemory(blobs, blob)).toBe(false);
  });

  test('is not what the store has under its digest with another size', async () => {
    const blobs = keeping(MiB);
    const { digest, bytes } = await stored('a');
    await readTwice(blobs, { digest, bytes });
    await storage.blobs.put({ digest, bytes: bytes.subarray(1), signal });
    const opened = await blobs.open(digest, { signal });
    expect([opened!.size, opened!.bytes]).toEqual([KiB - 1, undefined]);
    await opened!.close();
    await storage.blobs.put({ digest, bytes, signal });
    expect(await isFromMemory(blobs, { digest, bytes })).toBe(false);
  });

  test('that was forgotten while the store was asked is what the store has', async () => {
    const blobs = keeping(MiB);
    const blob = await stored('a');
    await readTwice(blobs, blob);
    storage.on('blobs.open', { hang: true });
    for (const isLate of [false, true]) {
      const opening = isFromMemory(blobs, blob);
      blobs.forget(blob.digest);
      if (isLate) await clock.advance(250);
      storage.heal();
      expect(await opening).toBe(false);
      await readTwice(blobs, blob);
      storage.on('blobs.open', { hang: true });
    }
  });

  test('is there when the store has not said so within 250 ms, until it says that it is not', async () => {
    const blobs = keeping(MiB);
    const blob = await stored('a');
    await readTwice(blobs, blob);
    for (const [isStored, next] of [
      [true, true],
      [false, undefined],
    ] as const) {
      storage.on('blobs.open', { hang: true });
      const opening = isFromMemory(blobs, blob);
      await clock.advance(249);
      await clock.advance(1);
      expect(await opening).toBe(true);
      if (!isStored) await memory.blobs.delete(blob.digest, { signal });
      storage.heal();
      await expect.poll(() => storage.openBlobs()).toBe(0);
      expect(await isFromMemory(blobs, blob)).toBe(next);
    }
    await clock.advance(10_000);
    expect([events, clock.pending()]).toEqual([[], 0]);
  });

  test('is there while the store fails, which is told; a caller who left is told that', async () => {
    const blobs = keeping(MiB);
    const [blob, other] = [await stored('a'), await stored('b')];
    await readTwice(blobs, blob);
    storage.on('blobs.open', { fail: 'EIO' });
    expect(await isFromMemory(blobs, blob)).toBe(true);
    expect(events).toMatchObject([{ type: 'store-failed', operation: 'open', subject: blob.digest }]);
    await expect(blobs.open(other.digest, { signal })).rejects.toThrow('EIO');
    const left = AbortSignal.abort(new Error('left'));
    await expect(blobs.open(blob.digest, { signal: left })).rejects.toThrow('left');
  });

  test('costs an open of the store, which is closed at once, and told of where it cannot be', async () => {
    const blobs = keeping(MiB);
    const blob = await stored('a');
    await readTwice(blobs, blob);
    const first = await blobs.open(blob.digest, { signal });
    expect([first!.bytes !== undefined, storage.openBlobs()]).toEqual([true, 0]);
    await first!.close();
    const { open } = storage.blobs;
    storage.blobs.open = async (wanted, options) => {
      const opened = await open(wanted, options);
      return opened && { ...opened, close: () => Promise.reject(new Error('EIO')) };
    };
    const opened = await blobs.open(blob.digest, { signal });
    expect(opened!.bytes).toBeDefined();
    expect(events).toMatchObject([{ type: 'store-failed', operation: 'close', subject: blob.digest }]);
    await opened!.close();
  });

  test('goes a minute after it was opened last', async () => {
    const blobs = keeping(MiB);
    const blob = await stored('a');
    await readTwice(blobs, blob);
    await clock.advance(55_000);
    expect(await isFromMemory(blobs, blob)).toBe(true);
    await clock.advance(55_000);
    expect(await isFromMemory(blobs, blob)).toBe(true);
    await clock.advance(70_000);
    expect([await isFromMemory(blobs, blob), clock.pending()]).toEqual([false, 0]);
  });

  test('is forgotten with what is being looked at, and when the cache closes', async () => {
    const blobs = keeping(MiB);
    const [kept, looked] = [await stored('a'), await stored('b')];
    const areFromMemory = async () => [await isFromMemory(blobs, kept), await isFromMemory(blobs, looked)];
    await readTwice(blobs, kept);
    const looking = readTwice(blobs, looked);
    blobs.forget(kept.digest);
    blobs.forget(looked.digest);
    expect([await looking, await areFromMemory()]).toEqual([undefined, [false, false]]);
    expect(await readTwice(blobs, kept)).toBe(true);
    const late = readTwice(blobs, looked);
    await blobs.close();
    expect([await late, await areFromMemory()]).toEqual([undefined, [false, false]]);
    expect([await readTwice(blobs, kept), clock.pending()]).toEqual([undefined, 0]);
  });
});

describe('of more blobs than there is room for', () => {
  test('those stay that are read, and one that was not for 10 s makes way', async () => {
    const blobs = keeping(2 * KiB);
    const [one, two, three] = [await stored('1'), await stored('2'), await stored('3')];
    expect([await readTwice(blobs, one), await readTwice(blobs, two)]).toEqual([true, true]);
    expect(await readTwice(blobs, three)).toBeUndefined();
    await clock.advance(9_999);
    expect(await isFromMemory(blobs, one)).toBe(true);
    expect(await readTwice(blobs, three)).toBeUndefined();
    await clock.advance(1);
    expect(await readTwice(blobs, three)).toBe(true);
    const kept = [await isFromMemory(blobs, one), await isFromMemory(blobs, two), await isFromMemory(blobs, three)];
    expect(kept).toEqual([true, false, true]);
  });

  test('one that is still being sent counts until it was', async () => {
    const blobs = keeping(KiB);
    const [one, two] = [await stored('1'), await stored('2')];
    await readTwice(blobs, one);
    const [slow, other] = [await blobs.open(one.digest, { signal }), await blobs.open(one.digest, { signal })];
    blobs.forget(one.digest);
    expect(await readTwice(blobs, two)).toBeUndefined();
    await slow!.close();
    await slow!.close();
    expect(await readTwice(blobs, two)).toBeUndefined();
    expect(Buffer.from(other!.bytes!)).toEqual(one.bytes);
    await other!.close();
    expect(await readTwice(blobs, two)).toBe(true);
  });

  test('those that are read count, and are looked at, also where they turn out to be wrong', async () => {
    const blobs = keeping(KiB);
    const [one, two] = [await stored('1'), await stored('2')];
    for (const { digest } of [one, two]) blobs.reserve(digest, KiB);
    const room = blobs.reserve(one.digest, KiB);
    expect(blobs.reserve(two.digest, KiB)).toBeUndefined();
    const looking = room!.keep(two.bytes);
    expect(blobs.reserve(two.digest, KiB)).toBeUndefined();
    expect(await looking).toBe(false);
    blobs.reserve(one.digest, KiB)!.drop();
    expect(await readTwice(blobs, two)).toBe(true);
  });

  test('the shortest take their share all the same: there are at most 16,384', async () => {
    const most = 16_384;
    const blobs = keeping(most * 8);
    const results = new Map<boolean | undefined, number>();
    for (let at = 0; at <= most; at++) {
      const bytes = Buffer.from([at >> 8, at & 255]);
      const isKept = await readTwice(blobs, { digest: digestOf(bytes), bytes });
      results.set(isKept, (results.get(isKept) ?? 0) + 1);
    }
    expect(results).toEqual(
      new Map([
        [true, most],
        [undefined, 1],
      ]),
    );
  });
});
