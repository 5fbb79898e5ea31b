import { setMaxListeners } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blobStoreContract, casesOf } from '@proxycache/contract';
import { type FlakyStorage, flakyStore, gate, manualClock } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { systemClock } from '../runtime/clock.ts';
import type { BlobStore } from './blob-store.ts';
import type { StoreEvent } from './events.ts';
import { fileStorage } from './file-storage.ts';
import { memoryStorage } from './memory-storage.ts';
import { createUploadQueue, type UploadQueue, type UploadQueueParts } from './upload-queue.ts';

const { signal } = new AbortController();
// Many calls use it at a time.
setMaxListeners(0, signal);
let directory: string;
let storage: FlakyStorage;
let clock: ReturnType<typeof manualClock>;
let events: StoreEvent[];
let queues: UploadQueue[];
let room: number;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'upload-queue-'));
  clock = manualClock();
  storage = flakyStore(memoryStorage({ clock }));
  events = [];
  queues = [];
  room = 1e9;
});
afterEach(async () => {
  for (const queue of queues) await queue.close(0);
  rmSync(directory, { recursive: true });
  rmSync(storage.spoolDirectory, { recursive: true });
});

function start(options: Partial<UploadQueueParts> = {}, blobs: BlobStore = storage.blobs): UploadQueue {
  const observe = (event: StoreEvent) => events.push(event);
  const spool = join(directory, 'spool');
  const queue = createUploadQueue(blobs, { directory: spool, room: () => room, clock, observe, ...options });
  queues.push(queue);
  return queue;
}

function takesNothing(): BlobStore {
  const flaky = flakyStore(memoryStorage());
  for (const operation of ['blobs.adopt', 'blobs.put'] as const) flaky.on(operation, { fail: 'away' });
  return flaky.blobs;
}

describe.each<[string, () => BlobStore, boolean]>([
  ['takes all', () => memoryStorage().blobs, false],
  ['is a folder', () => fileStorage(mkdtempSync(join(directory, 'store-'))).blobs, true],
  ['takes nothing', takesNothing, false],
  ['takes nothing, and is asked first', takesNothing, true],
])('a queue before a store that %s is a store', (_, blobs, asksFirst) => {
  const make = async () => {
    const spool = mkdtempSync(join(directory, 'spool-'));
    const parts = { directory: spool, asksFirst, room: () => 1e9, clock: systemClock, observe: () => undefined };
    const queue = createUploadQueue(blobs(), parts);
    return { store: queue, close: () => queue.close(0) };
  };
  for (const { name, run } of casesOf(blobStoreContract)) test(name, () => run(make));
});

const content = (text: string) => {
  const bytes = Buffer.from(text.repeat(1_000));
  return { bytes, digest: digestOf(bytes), size: bytes.byteLength };
};
const one = content('one');
let files = 0;

function spooled({ bytes }: { bytes: Uint8Array }): string {
  const file = join(directory, `spooled-${files++}`);
  writeFileSync(file, bytes);
  return file;
}

const adopt = (queue: UploadQueue, blob = one) => queue.adopt({ ...blob, file: spooled(blob), signal });

async function read(blobs: BlobStore, { digest } = one): Promise<Buffer | undefined> {
  const blob = await blobs.open(digest, { signal });
  if (!blob) return undefined;
  if (blob.kind !== 'file') throw new Error('not a file');
  const into = Buffer.alloc(blob.size);
  await blob.read(into, 0);
  await blob.close();
  return into;
}

/** What lies in the spool's folder, below whichever owner. */
const onDisk = () =>
  existsSync(join(directory, 'spool'))
    ? readdirSync(join(directory, 'spool'), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ name, parentPath }) => join(parentPath, name))
    : [];

const types = () => events.map(({ type }) => type);

/** What a process that died leaves: its folder, under a name that is not this one's. */
async function abandon(): Promise<string> {
  // Once it has looked whether others left something: that was before it died.
  await Promise.all(queues.map((queue) => queue.open(content('other').digest, { signal })));
  const spool = join(directory, 'spool');
  const [owner = ''] = readdirSync(spool);
  const dead = owner.replace(/~\d+$/, '~1');
  renameSync(join(spool, owner), join(spool, dead));
  return dead;
}

describe('a blob that the store does not take', () => {
  test('is read from the queue, also while the store cannot be read, and stored when the store is back', async () => {
    storage.on('blobs.adopt', { fail: 'away' });
    storage.on('blobs.open', { fail: 'away' });
    const queue = start();
    await adopt(queue);
    expect(queue.isWaiting(one.digest)).toBe(true);
    expect(await read(queue)).toEqual(one.bytes);
    expect(events).toEqual([
      { type: 'store-failed', operation: 'adopt', subject: one.digest, error: 'away' },
      { type: 'upload-waiting', digest: one.digest, size: one.size, error: 'away' },
    ]);
    storage.heal();
    await clock.advance(1_000);
    await expect.poll(() => queue.isWaiting(one.digest)).toBe(false);
    expect(await read(storage.blobs)).toEqual(one.bytes);
    expect(types().slice(2)).toEqual(['upload-done']);
    expect(onDisk()).toEqual([]);
  });

  test('is tried again less and less often, once for all, without another word', async () => {
    storage.on('blobs.adopt', { fail: 'away' });
    const queue = start();
    await adopt(queue);
    await adopt(queue, content('two'));
    await adopt(queue, content('three'));
    expect(storage.calls('blobs.adopt')).toBe(1);
    for (let minute = 1; minute <= 20; minute++) {
      const tried = storage.calls('blobs.adopt');
      await clock.advance(60_000);
      await expect.poll(() => storage.calls('blobs.adopt')).toBeGreaterThan(tried);
    }
    expect(storage.calls('blobs.adopt')).toBeLessThan(60);
    expect(types()).toEqual(['store-failed', 'upload-waiting', 'upload-waiting', 'upload-waiting']);
    storage.heal();
    await clock.advance(60_000);
    await expect.poll(() => types().filter((type) => type === 'upload-done').length).toBe(3);
  });

  test('is stored soon after the store answers anything again', async () => {
    storage.on('blobs.adopt', { fail: 'away' });
    const queue = start();
    await adopt(queue);
    for (let times = 0; times < 8; times++) {
      const tried = storage.calls('blobs.adopt');
      await clock.advance(60_000);
      await expect.poll(() => storage.calls('blobs.adopt')).toBeGreaterThan(tried);
    }
    storage.on('blobs.open', { fail: 'away' });
    await expect(queue.open(content('other').digest, { signal })).rejects.toThrow('away');
    storage.heal();
    await queue.open(content('other').digest, { signal });
    // Without that it would be half a minute at least.
    await clock.advance(1_000);
    await expect.poll(() => queue.isWaiting(one.digest)).toBe(false);
  });

  test('does not keep the others from the store that it does take', async () => {
    const refuses: BlobStore = {
      ...storage.blobs,
      adopt: async (blob) => {
        if (blob.digest === one.digest) throw new Error('too large');
        await storage.blobs.adopt(blob);
      },
    };
    storage.on('blobs.adopt', { fail: 'away' });
    const queue = start({}, refuses);
    const others = ['two', 'three', 'four', 'five'].map(content);
    for (const blob of [one, ...others]) await adopt(queue, blob);
    storage.heal();
    for (let times = 0; times < 10; times++) await clock.advance(60_000);
    await expect.poll(() => others.filter(({ digest }) => queue.isWaiting(digest))).toEqual([]);
    expect(queue.isWaiting(one.digest)).toBe(true);
    expect(await read(queue)).toEqual(one.bytes);
  });

  test('does not wait for its turn behind many that the store refuses each time', async () => {
    const refused = Array.from({ length: 10 }, (_, at) => content(`refused ${at}`));
    const others = new Set(refused.map(({ digest }) => digest));
    const tried = new Set<string>();
    let refusals = 0;
    let refusedBefore = Number.NaN;
    const refuses: BlobStore = {
      ...storage.blobs,
      adopt: async (blob) => {
        tried.add(blob.digest);
        if (others.has(blob.digest)) throw new Error(`too large: ${++refusals}`);
        refusedBefore = refusals;
        await storage.blobs.adopt(blob);
      },
    };
    const queue = start({}, refuses);
    for (const blob of refused) await adopt(queue, blob);
    await expect.poll(() => clock.advance(60_000).then(() => tried.size)).toBe(10);
    refusals = 0;
    await adopt(queue);
    await expect.poll(() => clock.advance(60_000).then(() => queue.isWaiting(one.digest))).toBe(false);
    // One may have been under way, and one have come before it was here.
    expect(refusedBefore).toBeLessThanOrEqual(2);
    expect(await read(storage.blobs)).toEqual(one.bytes);
  });

  test('and whose file somebody removed keeps no other from the store, and counts as no failure', async () => {
    storage.on('blobs.adopt', { fail: 'away' });
    const queue = start();
    const gone = Array.from({ length: 40 }, (_, at) => content(`gone ${at}`));
    for (const blob of gone) await adopt(queue, blob);
    for (const file of onDisk()) rmSync(file);
    await adopt(queue);
    storage.heal();
    events = [];
    const waiting = () => [one, ...gone].filter(({ digest }) => queue.isWaiting(digest)).length;
    await clock.advance(1_000);
    // All in one go: the clock stands still.
    await expect.poll(waiting).toBe(0);
    expect(types()).toEqual(['upload-done']);
    expect(await read(queue, gone[0])).toBeUndefined();
    expect(await read(storage.blobs)).toEqual(one.bytes);
  });

  test('is uploaded by two at a time when the store is back', async () => {
    storage.on('blobs.adopt', { fail: 'away' });
    const queue = start();
    const blobs = ['1', '2', '3', '4', '5', '6'].map(content);
    for (const blob of blobs) await adopt(queue, blob);
    storage.heal();
    let atOnce = 0;
    let most = 0;
    const { adopt: real } = storage.blobs;
    storage.blobs.adopt = async (blob) => {
      atOnce++;
      most = Math.max(most, atOnce);
      await real(blob);
      atOnce--;
    };
    await clock.advance(1_000);
    await expect.poll(() => types().filter((type) => type === 'upload-done').length).toBe(6);
    expect(most).toBe(2);
  });

  test('is dropped, and its file put back, where it does not fit', async () => {
    storage.on('blobs.adopt', { fail: 'away' });
    const queue = start({ maxBytes: one.size + 10 });
    await adopt(queue);
    const file = spooled(content('two'));
    await expect(queue.adopt({ ...content('two'), file, signal })).rejects.toThrow('away');
    expect(readFileSync(file)).toEqual(content('two').bytes);
    expect(await read(queue)).toEqual(one.bytes);
    // It was tried all the same: it would be lost.
    expect(storage.calls('blobs.adopt')).toBe(2);
  });

  test('is dropped where the disk has no room for as much again', async () => {
    storage.on('blobs.adopt', { fail: 'away' });
    room = one.size - 1;
    await expect(adopt(start())).rejects.toThrow('away');
    room = one.size;
    const queue = start();
    await adopt(queue);
    expect(queue.isWaiting(one.digest)).toBe(true);
  });

  test('is not waited for where the store is slow, and never stored twice', async () => {
    const held = gate();
    storage.on('blobs.adopt', { gate: held, times: 1 });
    const queue = start();
    const adopting = adopt(queue);
    await held.reached;
    expect(await read(queue)).toEqual(one.bytes);
    await clock.advance(11_000);
    await adopting;
    expect(queue.isWaiting(one.digest)).toBe(true);
    held.open();
    await expect.poll(() => types()).toEqual(['upload-waiting', 'upload-done']);
    await clock.advance(60_000);
    expect(storage.calls('blobs.adopt')).toBe(1);
  });

  test('is one of few that a store which hangs is asked to take at a time', async () => {
    const held = gate();
    storage.on('blobs.adopt', { gate: held });
    const queue = start();
    const blobs = Array.from({ length: 10 }, (_, at) => content(`slow ${at}`));
    for (const blob of blobs) {
      let isOver = false;
      const adopting = adopt(queue, blob).then(() => {
        isOver = true;
      });
      await expect.poll(() => clock.advance(10_000).then(() => isOver)).toBe(true);
      await adopting;
    }
    expect(blobs.filter(({ digest }) => queue.isWaiting(digest))).toHaveLength(10);
    expect(storage.calls('blobs.adopt')).toBeLessThanOrEqual(4);
    held.open();
    await expect.poll(() => blobs.some(({ digest }) => queue.isWaiting(digest))).toBe(false);
  });

  test('can be deleted while it is uploaded', async () => {
    const held = gate();
    storage.on('blobs.adopt', { gate: held });
    const queue = start();
    const adopting = adopt(queue);
    await held.reached;
    const deleting = queue.delete(one.digest, { signal });
    held.open();
    expect(await deleting).toBe(true);
    await adopting;
    expect(await read(queue)).toBeUndefined();
    expect(await read(storage.blobs)).toBeUndefined();
    expect(onDisk()).toEqual([]);
  });

  test('by one that is asked first is read from the queue, too', async () => {
    storage.on('blobs.adopt', { fail: 'away' });
    const queue = start({ asksFirst: true });
    await adopt(queue);
    await adopt(queue, content('two'));
    expect(storage.calls('blobs.adopt')).toBe(1);
    expect(types()).toEqual(['store-failed', 'upload-waiting', 'upload-waiting']);
    expect(await read(queue)).toEqual(one.bytes);
    const file = spooled(content('three'));
    room = 0;
    await expect(queue.adopt({ ...content('three'), file, signal })).rejects.toThrow('away');
    expect(readFileSync(file)).toEqual(content('three').bytes);
    storage.heal();
    await clock.advance(2_000);
    await expect.poll(() => queue.isWaiting(one.digest)).toBe(false);
    expect(await read(storage.blobs)).toEqual(one.bytes);
  });

  test('that is a manifest waits too', async () => {
    storage.on('blobs.put', { fail: 'away' });
    const queue = start();
    await queue.put({ ...one, signal });
    expect(await read(queue)).toEqual(one.bytes);
    storage.heal();
    await clock.advance(1_000);
    await expect.poll(() => queue.isWaiting(one.digest)).toBe(false);
    expect(await read(storage.blobs)).toEqual(one.bytes);
  });
});

describe('what waits when it ends', () => {
  beforeEach(() => storage.on('blobs.adopt', { fail: 'away' }));

  test('is taken over by the next queue of the same process', async () => {
    const before = start();
    await adopt(before);
    await before.close(0);
    const queue = start();
    expect(await read(queue)).toEqual(one.bytes);
    storage.heal();
    await clock.advance(1_000);
    await expect.poll(() => storage.blobs.open(one.digest, { signal })).toBeDefined();
    await expect.poll(onDisk).toEqual([]);
  });

  test('of a process that died is read at once, and stored', async () => {
    await adopt(start());
    await abandon();
    events = [];
    const queue = start();
    expect(await read(queue)).toEqual(one.bytes);
    expect(types()).toEqual(['upload-waiting']);
    expect(readdirSync(join(directory, 'spool'))).toHaveLength(1);
    storage.heal();
    await clock.advance(1_000);
    await expect.poll(() => types()).toEqual(['upload-waiting', 'upload-done']);
    expect(await read(storage.blobs)).toEqual(one.bytes);
  });

  test('is taken over by one of several that start', async () => {
    await adopt(start());
    await abandon();
    events = [];
    const started = [start(), start(), start()];
    const copies = await Promise.all(started.map((queue) => read(queue)));
    expect(copies.filter(Boolean)).toHaveLength(1);
    expect(types()).toEqual(['upload-waiting']);
  });

  test.each(['torn', 'altered'])('is removed where it was %s by a loss of power', async (how) => {
    await adopt(start());
    const dead = await abandon();
    const [file = ''] = onDisk();
    expect(file).toContain(dead);
    const bytes = readFileSync(file);
    if (how === 'torn') truncateSync(file, 100);
    else writeFileSync(file, bytes.fill(0, 10, 20));
    events = [];
    storage.heal();
    const queue = start();
    expect(await read(queue)).toBeUndefined();
    expect(types()).toEqual(['store-failed']);
    expect(onDisk()).toEqual([]);
    expect(await read(storage.blobs)).toBeUndefined();
  });

  test('is taken over of a process that dies later', async () => {
    const dying = start({ clock: manualClock() });
    await adopt(dying);
    await read(dying);
    const spool = join(directory, 'spool');
    const [owner = ''] = readdirSync(spool);
    const away = join(directory, 'away');
    renameSync(join(spool, owner), away);
    const queue = start();
    expect(await read(queue)).toBeUndefined();
    renameSync(away, join(spool, owner.replace(/~\d+$/, '~1')));
    await clock.advance(60_000);
    await expect.poll(() => read(queue)).toEqual(one.bytes);
  });

  test('of a process that runs is left alone', async () => {
    await adopt(start());
    expect(await read(start())).toBeUndefined();
    expect(onDisk()).toHaveLength(1);
  });

  test('is waited for as long as the grace time, while it is uploaded', async () => {
    storage.heal();
    const held = gate();
    storage.on('blobs.adopt', { gate: held });
    const before = start();
    const gaveUp = new AbortController();
    const adopting = before.adopt({ ...one, file: spooled(one), signal: gaveUp.signal });
    await held.reached;
    gaveUp.abort(new Error('the cache is closed'));
    await adopting;
    const closing = before.close(5_000);
    await clock.advance(4_000);
    held.open();
    await closing;
    expect(await read(storage.blobs)).toEqual(one.bytes);
    expect(onDisk()).toEqual([]);
  });
});
