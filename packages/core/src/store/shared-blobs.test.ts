import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blobStoreContract, casesOf } from '@proxycache/contract';
import { flakyStore, type ManualClock, manualClock, seededBytes } from '@proxycache/test-kit';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type Digest, digestHex, digestOf } from '../oci/digest.ts';
import type { BlobStore } from './blob-store.ts';
import type { StoreEvent } from './events.ts';
import { fileStorage } from './file-storage.ts';
import { createKeptBlobs } from './kept-blobs.ts';
import { memoryStorage } from './memory-storage.ts';
import { type OpenedBlob, type SharedBlobs, shareBlobs } from './shared-blobs.ts';

const { signal } = new AbortController();
const bytes = Buffer.alloc(1_000, 'content');
const digest = digestOf(bytes);
let clock: ManualClock;
let events: StoreEvent[];

beforeEach(() => {
  clock = manualClock();
  events = [];
});

function sharing(store: BlobStore): SharedBlobs {
  const told = { clock, observe: (event: StoreEvent) => void events.push(event) };
  return shareBlobs(store, { kept: createKeptBlobs(store, { maxBytes: 1e6, ...told }), ...told });
}

/** Has a blob be in memory. */
async function keep(blobs: SharedBlobs, what: { digest: Digest; bytes: Buffer }): Promise<void> {
  blobs.kept.reserve(what.digest, what.bytes.byteLength)?.drop();
  await blobs.kept.reserve(what.digest, what.bytes.byteLength)?.keep(Buffer.from(what.bytes));
}

function start() {
  const storage = flakyStore(memoryStorage({ clock }));
  const blobs = sharing(storage.blobs);
  const asked = () => storage.calls('blobs.open');
  return { storage, blobs, asked };
}

/** Of a store that has the blob. */
async function startStored() {
  const started = start();
  await started.storage.blobs.put({ digest, bytes, signal });
  return started;
}

async function bytesOf(opened: OpenedBlob | undefined): Promise<Buffer | undefined> {
  if (opened?.blob.kind !== 'file') return undefined;
  const into = Buffer.alloc(opened.blob.size);
  return into.subarray(0, await opened.blob.read(into, 0));
}

describe('a blob', () => {
  test('is opened once for all who read it within a second, also one after the other', async () => {
    const { storage, blobs, asked } = await startStored();
    const first = await blobs.share(digest, { signal });
    const second = blobs.held(digest);
    expect([await bytesOf(first), await bytesOf(second)]).toEqual([bytes, bytes]);
    expect(second).toMatchObject({ opening: first!.opening, openedAt: first!.openedAt });
    await first!.blob.close();
    await second!.blob.close();
    await clock.advance(999);
    expect(await bytesOf(await blobs.share(digest, { signal }))).toEqual(bytes);
    expect([asked(), storage.openBlobs()]).toEqual([1, 1]);
  });

  test('is asked for anew a second after it was asked for, however busily it is read', async () => {
    const { storage, blobs, asked } = await startStored();
    const reader = await blobs.share(digest, { signal });
    await clock.advance(1_000);
    expect(blobs.held(digest)).toBeUndefined();
    expect(await bytesOf(reader)).toEqual(bytes);
    const next = await blobs.share(digest, { signal });
    expect([asked(), storage.openBlobs(), next!.opening > reader!.opening]).toEqual([2, 2, true]);
    await reader!.blob.close();
    expect(storage.openBlobs()).toBe(1);
    await next!.blob.close();
    await clock.advance(1_000);
    expect([storage.openBlobs(), clock.pending()]).toEqual([0, 0]);
  });

  test('whose opening took longer than that is its reader’s alone', async () => {
    const { storage, blobs } = await startStored();
    storage.on('blobs.open', { hang: true });
    const opening = blobs.share(digest, { signal });
    await clock.advance(1_000);
    storage.heal();
    const opened = await opening;
    expect(blobs.held(digest)).toBeUndefined();
    await opened!.blob.close();
    expect(storage.openBlobs()).toBe(0);
  });

  test('that is in memory is opened there for a second, then once the store was asked for it, until it is changed', async () => {
    const { storage, blobs, asked } = await startStored();
    for (const [at, change] of (['delete', 'quarantine'] as const).entries()) {
      await keep(blobs, { digest, bytes });
      const opened = [await blobs.share(digest, { signal }), blobs.held(digest)];
      for (const each of opened) {
        expect([Buffer.from(each!.bytes!), await bytesOf(each)]).toEqual([bytes, bytes]);
        await each!.blob.close();
      }
      // The store's own is closed at once.
      expect([asked(), storage.openBlobs(), storage.bytesRead()]).toEqual([at + 1, 0, 0]);
      expect(await blobs[change](digest, { signal })).toBe(true);
      expect(blobs.held(digest)).toBeUndefined();
      await storage.blobs.put({ digest, bytes, signal });
    }
    await keep(blobs, { digest, bytes });
    const anew = await blobs.share(digest, { anew: true, signal });
    expect([asked(), anew!.bytes]).toEqual([3, undefined]);
    await anew!.blob.close();
    await blobs.close();
    await keep(blobs, { digest, bytes });
    const late = await blobs.share(digest, { signal });
    expect(late!.bytes).toBeUndefined();
    await late!.blob.close();
  });

  test('that is not there is asked for each time', async () => {
    const { blobs, asked } = start();
    expect(await blobs.share(digest, { signal })).toBeUndefined();
    expect(await blobs.share(digest, { signal })).toBeUndefined();
    expect(asked()).toBe(2);
  });

  test('is open for a second in 128 cases at a time, the latest of them', async () => {
    const { storage, blobs } = start();
    const all = Array.from({ length: 130 }, (_, at) => Buffer.from(`blob ${at}`));
    for (const each of all) {
      await blobs.put({ digest: digestOf(each), bytes: each, signal });
      await (await blobs.share(digestOf(each), { signal }))!.blob.close();
    }
    expect(storage.openBlobs()).toBe(128);
    expect(blobs.held(digestOf(all[1]!))).toBeUndefined();
    expect(await bytesOf(blobs.held(digestOf(all[2]!)))).toEqual(all[2]);
  });

  test('that is in memory takes no place of those, and has one of 16,384 of its own', async () => {
    const { storage, blobs, asked } = start();
    const all = Array.from({ length: 200 }, (_, at) => Buffer.from(`blob ${at}`));
    const [file, ...kept] = all.map((each) => ({ digest: digestOf(each), bytes: each }));
    for (const each of [file!, ...kept]) await blobs.put({ ...each, signal });
    await (await blobs.share(file!.digest, { signal }))!.blob.close();
    for (const each of kept) {
      await keep(blobs, each);
      await (await blobs.share(each.digest, { signal }))!.blob.close();
    }
    expect([asked(), storage.openBlobs()]).toEqual([200, 1]);
    for (const { digest: each } of [file!, ...kept]) {
      const opened = blobs.held(each);
      expect(opened).toBeDefined();
      await opened!.blob.close();
    }
  });

  test('is closed to a reader that closed it, while others go on', async () => {
    const { blobs } = await startStored();
    const [one, other] = [await blobs.share(digest, { signal }), blobs.held(digest)];
    await one!.blob.close();
    await one!.blob.close();
    await expect(bytesOf(one)).rejects.toMatchObject({ code: 'storage-failed' });
    expect(await bytesOf(other)).toEqual(bytes);
  });

  test('that a store gives as a stream is never shared', async () => {
    const { blobs: memory } = memoryStorage({ clock });
    let closed = 0;
    const body = async function* () {
      yield bytes;
    };
    const open: BlobStore['open'] = async () => ({
      kind: 'stream',
      size: 1_000,
      body: body(),
      close: async () => void closed++,
    });
    const blobs = sharing({ ...memory, open });
    const opened = await blobs.share(digest, { signal });
    expect([opened!.blob.kind, blobs.held(digest)]).toEqual(['stream', undefined]);
    await opened!.blob.close();
    expect(closed).toBe(1);
  });

  test('that cannot be closed is told of, and costs nobody anything', async () => {
    const { storage, blobs } = await startStored();
    const { open } = storage.blobs;
    storage.blobs.open = async (wanted, options) => {
      const blob = await open(wanted, options);
      return blob && { ...blob, close: () => Promise.reject(new Error('EIO')) };
    };
    await (await blobs.share(digest, { signal }))!.blob.close();
    await clock.advance(1_000);
    expect(events).toEqual([{ type: 'store-failed', operation: 'close', subject: digest, error: 'EIO' }]);
    await blobs.close();
  });
});

describe('what was opened before is given to nobody any more', () => {
  const other = Buffer.alloc(500, 'other');
  const changes: Record<string, (blobs: SharedBlobs, folder: string) => Promise<unknown>> = {
    delete: (blobs) => blobs.delete(digest, { signal }),
    quarantine: (blobs) => blobs.quarantine(digest, { signal }),
    put: (blobs) => blobs.put({ digest, bytes: other, signal }),
    async adopt(blobs, folder) {
      const file = join(folder, 'spooled');
      fs.writeFileSync(file, other);
      await blobs.adopt({ file, digest, size: other.byteLength, signal });
    },
  };

  test.each(Object.entries(changes))('after %s, and its readers read on', async (how, change) => {
    const folder = fs.mkdtempSync(join(tmpdir(), 'shared-blobs-'));
    onTestFinished(() => fs.rmSync(folder, { recursive: true }));
    const { storage, blobs } = await startStored();
    const reader = await blobs.share(digest, { signal });
    await change(blobs, folder);
    expect(await bytesOf(await blobs.share(digest, { signal }))).toEqual(
      how === 'put' || how === 'adopt' ? other : undefined,
    );
    expect(await bytesOf(reader)).toEqual(bytes);
    await reader!.blob.close();
    await clock.advance(1_000);
    expect(storage.openBlobs()).toBe(how === 'put' || how === 'adopt' ? 1 : 0);
  });

  test('also where it was asked for before a change and came after it', async () => {
    const { storage, blobs } = await startStored();
    const { open } = storage.blobs;
    let goOn = (): void => undefined;
    storage.blobs.open = async (wanted, options) => {
      const blob = await open(wanted, options);
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      return blob;
    };
    const opening = blobs.share(digest, { signal });
    await expect.poll(() => storage.openBlobs()).toBe(1);
    await blobs.delete(digest, { signal });
    goOn();
    const opened = await opening;
    expect([await bytesOf(opened), blobs.held(digest)]).toEqual([bytes, undefined]);
    await opened!.blob.close();
    expect(storage.openBlobs()).toBe(0);
  });

  test('where it was opened while a change ran', async () => {
    const { storage, blobs } = await startStored();
    storage.on('blobs.put', { hang: true });
    const storing = blobs.put({ digest, bytes: other, signal });
    expect(await bytesOf(await blobs.share(digest, { signal }))).toEqual(bytes);
    storage.heal();
    await storing;
    expect(await bytesOf(await blobs.share(digest, { signal }))).toEqual(other);
  });

  test('once a read of it failed, or it has become shorter', async () => {
    const { storage, blobs, asked } = await startStored();
    const reader = await blobs.share(digest, { signal });
    storage.on('blobs.read', { fail: 'EIO', times: 1 });
    await expect(bytesOf(reader)).rejects.toThrow('EIO');
    expect(blobs.held(digest)).toBeUndefined();
    await reader!.blob.close();

    const folder = fs.mkdtempSync(join(tmpdir(), 'shared-blobs-'));
    onTestFinished(() => fs.rmSync(folder, { recursive: true }));
    const files = sharing(fileStorage(folder, { clock }).blobs);
    await files.put({ digest, bytes, signal });
    const short = await files.share(digest, { signal });
    fs.truncateSync(join(folder, 'blobs/sha256', digestHex(digest)), 10);
    expect(await bytesOf(short)).toHaveLength(10);
    expect(files.held(digest)).toBeUndefined();
    expect(asked()).toBe(1);
    await short!.blob.close();
    await files.close();
  });

  test('where one asks for it anew, who then shares what it got', async () => {
    const { blobs, asked } = await startStored();
    const before = await blobs.share(digest, { signal });
    const anew = await blobs.share(digest, { anew: true, signal });
    const after = blobs.held(digest);
    expect([anew!.opening > before!.opening, after!.opening, asked()]).toEqual([true, anew!.opening, 2]);
  });

  test('once it is closed: what is read is closed by its last reader', async () => {
    const { storage, blobs } = await startStored();
    const reader = await blobs.share(digest, { signal });
    await (await blobs.share(digest, { signal }))!.blob.close();
    await blobs.close();
    expect(blobs.held(digest)).toBeUndefined();
    expect([storage.openBlobs(), clock.pending()]).toEqual([1, 0]);
    expect(await bytesOf(reader)).toEqual(bytes);
    await reader!.blob.close();
    const late = await blobs.share(digest, { signal });
    expect(blobs.held(digest)).toBeUndefined();
    await late!.blob.close();
    expect(storage.openBlobs()).toBe(0);
  });
});

describe('the blobs of a file store that are shared', () => {
  for (const { name, run } of casesOf(blobStoreContract)) {
    test(name, () =>
      run(async () => {
        const folder = fs.mkdtempSync(join(tmpdir(), 'shared-blobs-'));
        const store = sharing(fileStorage(folder).blobs);
        const open: BlobStore['open'] = async (wanted, options) => (await store.share(wanted, options))?.blob;
        const close = async () => {
          await store.close();
          fs.rmSync(folder, { recursive: true });
        };
        return { store: { ...store, open }, close };
      }),
    );
  }
});

/** Numbers from 0 up to below `n`, the same for the same seed. */
function numbers(seed: string): (n: number) => number {
  const drawn = Buffer.from(seededBytes(seed, 40_000));
  let at = 0;
  return (n) => drawn.readUInt32LE((at++ % 10_000) * 4) % n;
}

describe('random steps never give wrong bytes, nor leave a file open', () => {
  test.each(['1', '2', '3', '4'])('seed %s', async (seed) => {
    const folder = fs.mkdtempSync(join(tmpdir(), 'shared-blobs-'));
    onTestFinished(() => fs.rmSync(folder, { recursive: true }));
    const storage = flakyStore(fileStorage(folder, { clock }));
    const blobs = sharing(storage.blobs);
    const draw = numbers(seed);
    // Versions tell which bytes of a blob were stored when: each reads one of them, and none older than it may.
    const contents = Array.from({ length: 6 }, (_, at) => digestOf(Buffer.from(`blob ${at}`)));
    const versionOf = new Map<string, number>();
    const settledAt = new Map<string, number>();
    const bytesFor = (of: string, version: number) => Buffer.alloc(2_000, `${of} ${version};`);
    const readers: { of: string; opened: OpenedBlob; version: number | undefined }[] = [];
    const running: Promise<unknown>[] = [];
    let version = 0;

    async function read(reader: (typeof readers)[number]): Promise<void> {
      const got = await bytesOf(reader.opened);
      const text = got!.toString();
      const found = Number(/ (\d+);/.exec(text)![1]);
      expect(text).toBe(bytesFor(reader.of, found).toString());
      reader.version ??= found;
      expect(found).toBe(reader.version);
    }

    async function open(of: (typeof contents)[number], anew: boolean): Promise<void> {
      const notBefore = settledAt.get(of);
      const opened = await blobs.share(of, { anew, signal });
      if (!opened) return;
      const reader = { of, opened, version: undefined as number | undefined };
      readers.push(reader);
      await read(reader);
      if (notBefore !== undefined) expect(reader.version).toBeGreaterThanOrEqual(notBefore);
    }

    async function change(of: (typeof contents)[number], how: number): Promise<void> {
      const mine = ++version;
      versionOf.set(of, mine);
      const options = { digest: of, signal };
      if (how === 0) await blobs.put({ ...options, bytes: bytesFor(of, mine) });
      else if (how === 1) {
        const file = join(folder, `spool/${mine}`);
        fs.writeFileSync(file, bytesFor(of, mine));
        await blobs.adopt({ ...options, file, size: 2_000 });
      } else if (how === 2) await blobs.delete(of, { signal });
      else await blobs.quarantine(of, { signal });
      // No later change ran beside it: what is opened from now on is no older.
      if (versionOf.get(of) === mine) settledAt.set(of, mine);
    }

    for (let step = 0; step < 1_500; step++) {
      const of = contents[draw(contents.length)]!;
      const kind = draw(12);
      if (kind < 5) running.push(open(of, kind === 0));
      else if (kind < 7) running.push(change(of, draw(4)));
      else if (kind < 9 && readers.length > 0)
        running.push(read(readers[draw(readers.length)]!).catch(closedMeanwhile));
      else if (kind < 11 && readers.length > 0)
        running.push(readers.splice(draw(readers.length), 1)[0]!.opened.blob.close());
      else running.push(clock.advance(draw(700)));
      if (running.length > draw(20)) await Promise.all(running.splice(0));
    }
    await Promise.all(running);
    await blobs.close();
    await Promise.all(readers.map(({ opened }) => opened.blob.close()));
    expect([storage.openBlobs(), clock.pending(), events]).toEqual([0, 0, []]);
    const targets = fs.readdirSync('/proc/self/fd').map(targetOf);
    expect(targets.filter((target) => target.startsWith(folder))).toEqual([]);
  });
});

function closedMeanwhile(error: Error): void {
  expect(error.message).toContain('it was closed');
}

function targetOf(descriptor: string): string {
  try {
    return fs.readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    // The listing's own.
    return '';
  }
}

test('it is known whether anybody has a blob open, also when it is shared no more', async () => {
  const { blobs } = await startStored();
  expect(blobs.isOpen(digest)).toBe(false);
  const [one, other] = [await blobs.share(digest, { signal }), await blobs.share(digest, { signal })];
  const anew = await blobs.share(digest, { anew: true, signal });
  expect(blobs.isOpen(digest)).toBe(true);
  await clock.advance(2_000);
  expect(blobs.isOpen(digest)).toBe(true);
  for (const opened of [one, anew]) await opened?.blob.close();
  expect(blobs.isOpen(digest)).toBe(true);
  await other?.blob.close();
  expect(blobs.isOpen(digest)).toBe(false);
});
