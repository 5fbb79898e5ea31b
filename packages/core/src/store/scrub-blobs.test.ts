import { type FlakyStorage, flakyStore, manualClock, seededBytes } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Digest, digestOf } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import type { StoreEvent } from './events.ts';
import { memoryStorage } from './memory-storage.ts';
import { openBytes } from './open-bytes.ts';
import { type BlobsReport, scrubBlobs } from './scrub-blobs.ts';

const { signal } = new AbortController();
const size = 1000;
let storage: FlakyStorage;
let events: StoreEvent[];
let report: BlobsReport;
/** In the order in which they are listed. */
let digests: Digest[];

beforeEach(async () => {
  storage = flakyStore(memoryStorage({ clock: manualClock() }));
  events = [];
  report = { checked: 0, bytes: 0, flawed: 0, wrong: [] };
  digests = [];
  for (const seed of ['a', 'b', 'c', 'd', 'e', 'f']) {
    const bytes = seededBytes(seed, size);
    digests.push(digestOf(bytes));
    await storage.blobs.put({ digest: digestOf(bytes), bytes, signal });
  }
  digests.sort();
});

function scrub(ofSignal = signal, progress: () => void = () => undefined): Promise<void> {
  const { blobs } = storage;
  const observe = (event: StoreEvent) => void events.push(event);
  return scrubBlobs(
    { blobs, buffers: createBuffers(0), observe, pace: async () => undefined, progress },
    report,
    ofSignal,
  );
}

const spoil = (digest: Digest) => storage.blobs.put({ digest, bytes: Buffer.from('wrong'), signal });
const isStored = async (digest: Digest) => {
  const blob = await storage.blobs.open(digest, { signal });
  await blob?.close();
  return blob !== undefined;
};

/** Makes opening these fail. */
function unreadable(these: readonly (Digest | undefined)[]): void {
  const { open } = storage.blobs;
  storage.blobs.open = async (digest, options) => {
    if (these.includes(digest)) throw new Error('EIO');
    return await open(digest, options);
  };
}

it('finds nothing where all is right', async () => {
  await scrub();
  expect(report).toEqual({ checked: 6, bytes: 6 * size, flawed: 0, wrong: [] });
  expect(events).toEqual([]);
  expect(storage.openBlobs()).toBe(0);
});

it('takes each wrong blob out of sight, and tells', async () => {
  const wrong = [digests[0]!, digests[3]!, digests[5]!];
  for (const digest of wrong) await spoil(digest);
  await scrub();
  const found = wrong.map((digest) => ({ digest, size: 5, reason: 'wrong-bytes' }));
  expect(report).toEqual({
    checked: 6,
    bytes: 3 * size,
    flawed: 3,
    wrong: found.map((blob) => ({ ...blob, quarantined: true })),
  });
  expect(events).toEqual(found.map((blob) => ({ type: 'blob-quarantined', ...blob })));
  expect(await Promise.all(digests.map(isStored))).toEqual(digests.map((digest) => !wrong.includes(digest)));
});

it('leaves what was stored anew meanwhile', async () => {
  await spoil(digests[0]!);
  const { quarantine } = storage.blobs;
  storage.blobs.quarantine = async (digest, options) => {
    expect(options.unlessStoredAfter).toBe(manualClock().now());
    return await quarantine(digest, { ...options, unlessStoredAfter: manualClock().now() - 1 });
  };
  await scrub();
  expect(report.wrong).toMatchObject([{ digest: digests[0], quarantined: false }]);
  expect(await isStored(digests[0]!)).toBe(true);
  expect(events).toEqual([]);
});

describe('a blob that cannot be read', () => {
  it.each([0, 2, 5])('is told and stays, while others can (number %i)', async (at) => {
    const [digest] = digests.slice(at);
    unreadable([digest]);
    await scrub();
    expect(report).toMatchObject({ checked: 6, bytes: 5 * size, flawed: 1 });
    expect(report.wrong).toEqual([{ digest, size, reason: 'unreadable', quarantined: false }]);
    expect(events.map(({ type }) => type)).toEqual(['store-failed']);
    expect(storage.calls('blobs.quarantine')).toBe(0);
  });

  it('once is right the second time', async () => {
    storage.on('blobs.read', { fail: 'EIO', times: 1 });
    await scrub();
    expect(report).toEqual({ checked: 6, bytes: 6 * size, flawed: 0, wrong: [] });
  });

  it('is told and left where no other could be', async () => {
    for (const digest of digests.slice(2)) await storage.blobs.delete(digest, { signal });
    unreadable(digests);
    await scrub();
    expect(report.wrong.map(({ quarantined }) => quarantined)).toEqual([false, false]);
    expect(storage.calls('blobs.quarantine')).toBe(0);
  });

  it.each([0, 1, 3])('is told beside two bad neighbours, and the scrub goes on (from number %i)', async (at) => {
    unreadable(digests.slice(at, at + 3));
    await scrub();
    expect(report).toMatchObject({ checked: 6, bytes: 3 * size, flawed: 3 });
    expect(report.wrong.map(({ digest, reason }) => [digest, reason])).toEqual(
      digests.slice(at, at + 3).map((digest) => [digest, 'unreadable']),
    );
    expect(storage.calls('blobs.quarantine')).toBe(0);
  });

  it('for a while stays, of a store that fails now and then', async () => {
    const { open } = storage.blobs;
    let opened = 0;
    // Two neighbours fail again when they are asked for once more.
    storage.blobs.open = async (digest, options) => {
      opened++;
      if ([2, 3, 5, 6].includes(opened)) throw new Error('EIO');
      return await open(digest, options);
    };
    await scrub();
    expect(report).toMatchObject({ checked: 6, flawed: 2, wrong: [{ quarantined: false }, { quarantined: false }] });
    expect(await Promise.all(digests.map(isStored))).toEqual(digests.map(() => true));
  });

  it('that is wrong but cannot be put aside stays', async () => {
    await spoil(digests[1]!);
    storage.on('blobs.quarantine', { fail: 'not allowed' });
    await scrub();
    expect(report).toMatchObject({ checked: 6, flawed: 1, wrong: [{ quarantined: false }] });
    expect(events).toMatchObject([{ type: 'store-failed', operation: 'quarantine' }]);
  });
});

describe('a good blob', () => {
  /** Makes the first so many openings of one blob give other bytes than those stored. */
  function spoilOpenings(digest: Digest | undefined, times: number, body: Uint8Array): void {
    const { open } = storage.blobs;
    let opened = 0;
    storage.blobs.open = async (wanted, options) => {
      if (wanted !== digest || ++opened > times) return await open(wanted, options);
      const chunks = (async function* () {
        yield body;
      })();
      return { kind: 'stream', size, body: chunks, close: async () => undefined };
    };
  }

  it('whose stream ends short without an error is unreadable, not wrong, and stays', async () => {
    spoilOpenings(digests[2], 9, new Uint8Array(size - 1));
    await scrub();
    expect(report.wrong).toEqual([{ digest: digests[2], size, reason: 'unreadable', quarantined: false }]);
    expect(storage.calls('blobs.quarantine')).toBe(0);
  });

  it('of which one read gave other bytes is right the second time', async () => {
    spoilOpenings(digests[2], 1, new Uint8Array(size));
    await scrub();
    expect(report).toEqual({ checked: 6, bytes: 6 * size, flawed: 0, wrong: [] });
    expect(storage.calls('blobs.quarantine')).toBe(0);
  });
});

describe('a copy of a blob', () => {
  /** Gives one blob a copy, as a store of several tiers has it. */
  function giveCopy(digest: Digest | undefined, bytes: Uint8Array, read?: () => Promise<number>): () => boolean {
    const { open } = storage.blobs;
    let closed = false;
    storage.blobs.open = async (wanted, options) => {
      const blob = await open(wanted, options);
      if (wanted !== digest || blob?.kind !== 'file' || !options.forScrub) return blob;
      const copy = openBytes(bytes, () => {
        closed = true;
      });
      const close = async () => void (await Promise.all([blob.close(), copy.close()]));
      return { ...blob, copies: [{ ...copy, ...(read && { read }) }], close };
    };
    return () => closed;
  }

  it('is looked at, too, and is wrong for all of it', async () => {
    const isClosed = giveCopy(digests[1], new Uint8Array(size));
    await scrub();
    expect(report.wrong).toEqual([{ digest: digests[1], size, reason: 'wrong-bytes', quarantined: true }]);
    expect([isClosed(), storage.openBlobs()]).toEqual([true, 0]);
  });

  it('that cannot be read is told of, and no flaw', async () => {
    giveCopy(digests[1], new Uint8Array(size), () => Promise.reject(new Error('EIO')));
    await scrub();
    expect(report).toEqual({ checked: 6, bytes: 6 * size, flawed: 0, wrong: [] });
    expect(events).toMatchObject([{ type: 'store-failed', operation: 'scrub', error: 'EIO' }]);
  });
});

describe('a store that fails as a whole', () => {
  it.each(['blobs.open', 'blobs.read', 'blobs.digests'] as const)('loses nothing (%s)', async (operation) => {
    storage.on(operation, { fail: 'the disk is gone' });
    await expect(scrub()).rejects.toThrow(/the disk is gone|6 times in a row/);
    storage.heal();
    expect(storage.calls('blobs.quarantine')).toBe(0);
    expect(await Promise.all(digests.map(isStored))).toEqual(digests.map(() => true));
    expect(storage.openBlobs()).toBe(0);
  });

  it('half-way loses nothing either', async () => {
    const { open } = storage.blobs;
    let down = false;
    storage.blobs.open = async (digest, options) => {
      down ||= digest === digests[2];
      if (down) throw new Error('EIO');
      return await open(digest, options);
    };
    await expect(scrub()).rejects.toMatchObject({ code: 'storage-failed' });
    expect(storage.calls('blobs.quarantine')).toBe(0);
  });

  it('at the very last blobs loses nothing either', async () => {
    let down = false;
    const { open } = storage.blobs;
    storage.blobs.open = async (digest, options) => {
      down ||= digest === digests.at(-2);
      if (down) throw new Error('EIO');
      return await open(digest, options);
    };
    await scrub();
    expect(report.wrong.map(({ quarantined }) => quarantined)).toEqual([false, false]);
    expect(storage.calls('blobs.quarantine')).toBe(0);
  });
});

it('stops at once when its caller leaves, with nothing open', async () => {
  const caller = new AbortController();
  let seen = 0;
  const scrubbing = scrub(caller.signal, () => {
    seen++;
    if (seen === 2) caller.abort(new Error('enough'));
  });
  await expect(scrubbing).rejects.toThrow('enough');
  expect([seen, storage.openBlobs()]).toEqual([2, 0]);
});

it('lists the first thousand of many flaws, and counts them all', async () => {
  for (let i = 0; i < 1_010; i++) {
    await spoil(digestOf(Buffer.from(`no. ${i}`)));
  }
  await scrub();
  expect([report.flawed, report.wrong.length, report.checked]).toEqual([1_010, 1_000, 1_016]);
});
