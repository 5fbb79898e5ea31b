import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { feed, manualClock, openFiles, seededBytes } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Digest, digestOf } from '../oci/digest.ts';
import { createSlabs } from '../runtime/slabs.ts';
import { isLocal } from './is-local.ts';
import { serveHashes } from './serve-hashes.ts';
import { createSpoolFile, type SpoolFile } from './spool-file.ts';
import { createSpooling } from './spooling.ts';
import { createThreadHash } from './thread-hash.ts';

const MiB = 1024 * 1024;
const { signal } = new AbortController();
const slabs = createSlabs(64 * MiB);
const sharedSlabs = createSlabs(64 * MiB, { shared: true });

/** A hash at the other end of a port, as a thread has it. */
function hashElsewhere(digest: Digest) {
  const { port1, port2 } = new MessageChannel();
  serveHashes(port2);
  return createThreadHash(digest, () => port1);
}

/** Shared slabs that know how many of them are out. */
function countedSlabs() {
  const slabs = createSlabs(64 * MiB, { shared: true });
  const taken = new Set<ArrayBufferLike>();
  return {
    take() {
      const slab = slabs.take();
      taken.add(slab.buffer);
      return slab;
    },
    give(memory: Uint8Array) {
      taken.delete(memory.buffer);
      slabs.give(memory);
    },
    out: () => taken.size,
  };
}

let directory: string;
let file: SpoolFile;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'spooling-'));
  file = await createSpoolFile(join(directory, 'file'));
});
afterEach(() => {
  expect(openFiles(directory)).toEqual([]);
  rmSync(directory, { recursive: true });
});

/** A body of chunks of 64 KiB. */
function chunked(bytes: Uint8Array, size = 64 * 1024) {
  const chunks: Uint8Array[] = [];
  for (let from = 0; from < bytes.byteLength; from += size) chunks.push(bytes.subarray(from, from + size));
  const body = feed(...chunks);
  body.end();
  return body.bytes;
}

it.each(['sha256', 'sha512'])('takes a body in, and gives its %s digest and size', async (algorithm) => {
  const bytes = seededBytes('a', 5 * MiB + 17);
  const digest = digestOf(bytes, algorithm);
  const spooling = createSpooling(file, digest, { slabs });
  spooling.expect(bytes.byteLength);
  expect(await spooling.fill(chunked(bytes))).toEqual({ digest, size: bytes.byteLength });
  expect(spooling.view.state()).toEqual({ contiguous: bytes.byteLength, phase: 'filling', epoch: 0 });
  expect(readFileSync(file.path).equals(bytes)).toBe(true);
  await spooling.release();
});

it('keeps the last 2 MiB in memory, and nothing once it has let go', async () => {
  const bytes = seededBytes('b', 8 * MiB);
  const spooling = createSpooling(file, digestOf(bytes), { slabs });
  await spooling.fill(chunked(bytes));
  const recent = (position: number) => spooling.view.recent(position)?.bytes;
  // Memory comes in slabs of half a MiB.
  expect(recent(5 * MiB)).toBeUndefined();
  expect(Buffer.from(recent(6 * MiB)!).equals(bytes.subarray(6 * MiB, 6 * MiB + 512 * 1024))).toBe(true);
  void spooling.verify();
  const reader = spooling.view.open();
  await spooling.release();
  // A slow reader has the file.
  expect(recent(8 * MiB - 1)).toBeUndefined();
  const into = Buffer.alloc(10);
  await reader.read(into, 8 * MiB - 10);
  expect(into.equals(bytes.subarray(8 * MiB - 10))).toBe(true);
  expect(spooling.isOpen()).toBe(true);
  await reader.close();
  expect(spooling.isOpen()).toBe(false);
});

it('keeps what came last in memory for who is about to read it, when all is in the file, until he has left', async () => {
  const bytes = seededBytes('in step', 3 * MiB);
  const counted = countedSlabs();
  const spooling = createSpooling(file, digestOf(bytes), { slabs: counted });
  const reader = spooling.view.open(() => 2 * MiB);
  await spooling.fill(chunked(bytes));
  await spooling.verify();
  await spooling.release();
  const last = spooling.view.recent(2 * MiB)?.bytes;
  expect(last && Buffer.from(last).equals(bytes.subarray(2 * MiB, 2 * MiB + last.byteLength))).toBe(true);
  await reader.close();
  expect(spooling.view.recent(2 * MiB)).toBeUndefined();
  expect(counted.out()).toBe(0);
});

it('keeps nothing for readers of a transfer that failed', async () => {
  const bytes = seededBytes('failed', MiB);
  const counted = countedSlabs();
  const spooling = createSpooling(file, digestOf(bytes), { slabs: counted });
  const reader = spooling.view.open(() => 0);
  await spooling.fill(chunked(bytes));
  spooling.fail(new Error('wrong'));
  await spooling.release();
  expect(spooling.view.recent(0)).toBeUndefined();
  expect(counted.out()).toBe(0);
  await reader.close();
});

it('keeps the last 4 MiB in memory while many read, who take turns', async () => {
  const bytes = seededBytes('many', 8 * MiB);
  const spooling = createSpooling(file, digestOf(bytes), { slabs });
  const readers = Array.from({ length: 50 }, () => spooling.view.open(() => 0));
  await spooling.fill(chunked(bytes));
  const recent = (position: number) => spooling.view.recent(position)?.bytes;
  expect(recent(3 * MiB)).toBeUndefined();
  expect(Buffer.from(recent(4 * MiB)!).equals(bytes.subarray(4 * MiB, 4 * MiB + 512 * 1024))).toBe(true);
  await spooling.release();
  await Promise.all(readers.map((reader) => reader.close()));
});

it('keeps single bytes next to each other, in memory and on their way to the file', async () => {
  const bytes = seededBytes('single', 50_000);
  const append = vi.spyOn(file, 'append');
  const spooling = createSpooling(file, digestOf(bytes), { slabs });
  async function* singly() {
    for (const byte of bytes) yield Uint8Array.of(byte);
  }
  expect(await spooling.fill(singly())).toEqual({ digest: digestOf(bytes), size: 50_000 });
  expect([0, 16_384, 49_152].map((at) => spooling.view.recent(at)?.bytes.byteLength)).toEqual([50_000, 33_616, 848]);
  expect(new Set(append.mock.calls.map(([{ buffer }]) => buffer)).size).toBe(1);
  expect(readFileSync(file.path).equals(bytes)).toBe(true);
  await spooling.release();
});

it('uses the same memory again for what comes later, and gives all of it back', async () => {
  const bytes = seededBytes('again', 24 * MiB);
  let out = 0;
  let most = 0;
  const taken = new Set<ArrayBufferLike>();
  const counted = {
    take() {
      const slab = slabs.take();
      taken.add(slab.buffer);
      most = Math.max(most, ++out);
      return slab;
    },
    give(memory: Uint8Array) {
      if (taken.has(memory.buffer)) out--;
      slabs.give(memory);
    },
  };
  const spooling = createSpooling(file, digestOf(bytes), { slabs: counted });
  await spooling.fill(chunked(bytes));
  // The ring, what waits to be written, and what is being filled.
  expect(most).toBeLessThanOrEqual(16);
  void spooling.verify();
  await spooling.release();
  expect(out).toBe(0);
});

it('has readers get from the file what is there, while others hold on to much of what is in memory', async () => {
  const bytes = seededBytes('held', 32 * MiB);
  const spooling = createSpooling(file, digestOf(bytes), { slabs });
  const body = feed();
  const filling = spooling.fill(body.bytes);
  const holds: (() => void)[] = [];
  for (let at = 0; at < bytes.byteLength; at += MiB) {
    body.push(bytes.subarray(at, at + MiB));
    await vi.waitFor(() => expect(spooling.view.state().contiguous).toBe(at + MiB));
    await file.flush();
    const recent = spooling.view.recent(at);
    recent?.memory.hold();
    if (recent) holds.push(recent.memory.letGo);
  }
  expect(holds).toHaveLength(16);
  expect(spooling.view.recent(31 * MiB)).toBeUndefined();
  for (const letGo of holds) letGo();
  expect(spooling.view.recent(31 * MiB)?.bytes.byteLength).toBe(MiB);
  body.end();
  await filling;
  await spooling.release();
});

it('stops at the first byte over, and closes the body', async () => {
  const spooling = createSpooling(file, digestOf(Buffer.from('abc')), { slabs });
  spooling.expect(4);
  const body = feed(Buffer.from('abc'), Buffer.from('de'), Buffer.from('never asked for'));
  await spooling.fill(body.bytes);
  expect(body.closed).toBe(true);
  expect(body.taken).toBe(2);
  expect(spooling.view.state().contiguous).toBe(4);
  await spooling.release();
});

it('is opened by nobody once nobody holds it', async () => {
  const spooling = createSpooling(file, digestOf(Buffer.from('abc')), { slabs });
  await spooling.release();
  expect(() => spooling.view.open()).toThrow('nobody holds');
  expect(spooling.isOpen()).toBe(false);
});

describe('starts anew in another file', () => {
  const why = new Error('wrong bytes');
  const create = () => createSpoolFile(join(directory, 'another'));

  it('with another epoch, and nothing of the try before', async () => {
    const right = seededBytes('right', 3000);
    const spooling = createSpooling(file, digestOf(right), { slabs });
    await spooling.fill(chunked(seededBytes('wrong', 1000)));
    const starting = spooling.restart(create, why);
    // At once, whatever the disk takes to make a file.
    expect(spooling.view.state()).toEqual({ contiguous: 0, phase: 'filling', epoch: 1 });
    expect(spooling.view.recent(0)).toBeUndefined();
    expect(spooling.view.failure).toBe(why);
    await starting;
    expect(await spooling.fill(chunked(right))).toEqual({ digest: digestOf(right), size: 3000 });
    expect(readFileSync(join(directory, 'another')).equals(right)).toBe(true);
    await spooling.release();
  });

  const size = 300 * 1024;
  const bytes = seededBytes('compared', size);
  const flipped = (at: number) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
  it.each([
    ['in the first byte', flipped(0), bytes, 0],
    ['in a window after the first', flipped(70_000), bytes, 70_000],
    ['in the last byte', flipped(size - 1), bytes, size - 1],
    ['where the first ends', bytes.subarray(0, 100_000), bytes, 100_000],
    ['where the second ends', bytes, bytes.subarray(0, 100_000), 100_000],
    ['where the first had nothing', new Uint8Array(), bytes, 0],
    ['nowhere before the end', bytes, bytes, size],
  ])('and tells that they differ %s', async (_, first, second, differsAt) => {
    const spooling = createSpooling(file, digestOf(bytes), { slabs });
    await spooling.fill(chunked(first));
    await spooling.restart(create, why);
    await spooling.fill(chunked(second, 100 * 1024));
    expect(spooling.view.state()).toMatchObject({ differsAt, contiguous: second.byteLength });
    // The file of the first try is not kept open any longer than that.
    await vi.waitFor(() => expect(openFiles(directory)).toEqual([join(directory, 'another')]));
    await spooling.release();
  });

  it('and tells no byte as arrived before it was compared', async () => {
    const spooling = createSpooling(file, digestOf(bytes), { slabs });
    await spooling.fill(chunked(bytes));
    await spooling.restart(create, why);
    const seen: unknown[] = [];
    const filling = spooling.fill(chunked(flipped(200_000)));
    for (let state = spooling.view.state(); state.contiguous < size; state = spooling.view.state()) {
      await spooling.view.changed(state, signal);
      const { contiguous, differsAt } = spooling.view.state();
      seen.push(differsAt === undefined ? contiguous <= 200_000 : differsAt === 200_000);
    }
    await filling;
    expect(seen.every(Boolean)).toBe(true);
    await spooling.release();
  });

  it('and counts as another what cannot be read any more', async () => {
    const spooling = createSpooling(file, digestOf(bytes), { slabs });
    await spooling.fill(chunked(bytes));
    const read = vi.spyOn(file, 'read').mockRejectedValue(new Error('EIO'));
    await spooling.restart(create, why);
    await spooling.fill(chunked(bytes));
    expect(read).toHaveBeenCalledTimes(1);
    expect(spooling.view.state().differsAt).toBe(0);
    await spooling.release();
  });

  it('and closes both files where it ends before they were compared', async () => {
    const spooling = createSpooling(file, digestOf(bytes), { slabs });
    await spooling.fill(chunked(bytes));
    await spooling.restart(create, why);
    const body = feed(bytes.subarray(0, 10));
    body.fail(new Error('cut off'));
    await expect(spooling.fill(body.bytes)).rejects.toThrow('cut off');
    await spooling.release();
  });
});

it('passes on what the body fails with', async () => {
  const spooling = createSpooling(file, digestOf(Buffer.from('')), { slabs });
  const body = feed(Buffer.from('abc'));
  body.fail(new Error('cut off'));
  await expect(spooling.fill(body.bytes)).rejects.toThrow('cut off');
  await spooling.release();
});

it('fails with storage-failed where the file cannot be written, and closes the body', async () => {
  const spooling = createSpooling(file, digestOf(Buffer.from('')), { slabs });
  const body = feed(Buffer.alloc(MiB), Buffer.alloc(MiB));
  await file.close();
  await expect(spooling.fill(body.bytes)).rejects.toMatchObject({ code: 'storage-failed' });
  expect(body.closed).toBe(true);
});

it('wakes whoever waits for a change, and lets those go who left', async () => {
  const spooling = createSpooling(file, digestOf(Buffer.from('')), { slabs });
  const { view } = spooling;
  const seen = view.state();
  const leaving = new AbortController();
  const [staying, left] = [view.changed(seen, signal), view.changed(seen, leaving.signal)];
  leaving.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  await expect(view.changed(seen, leaving.signal)).rejects.toThrow('left');
  spooling.fail(new Error('over'));
  await staying;
  await view.changed(seen, signal);
  expect(view.state().phase).toBe('failed');
  expect(view.failure).toMatchObject({ message: 'over' });
  await spooling.release();
});

describe('hashed in a thread', () => {
  const bytes = seededBytes('elsewhere', 12 * MiB + 17);
  const digest = digestOf(bytes);

  it.each([bytes.byteLength, undefined])('gives the digest of what came, and all memory back (%s)', async (total) => {
    const counted = countedSlabs();
    const spooling = createSpooling(file, digest, { slabs: counted, hashElsewhere });
    spooling.expect(total);
    expect(await spooling.fill(chunked(bytes))).toEqual({ digest, size: bytes.byteLength });
    await spooling.release();
    expect(counted.out()).toBe(0);
  });

  it('goes on here from the file where the thread ends', async () => {
    const ends: (() => void)[] = [];
    const counted = countedSlabs();
    const elsewhere = (of: Digest) => {
      const { port1, port2 } = new MessageChannel();
      serveHashes(port2);
      ends.push(() => port2.close());
      return createThreadHash(of, () => port1);
    };
    const spooling = createSpooling(file, digest, { slabs: counted, hashElsewhere: elsewhere });
    spooling.expect(bytes.byteLength);
    const body = feed();
    const filling = spooling.fill(body.bytes);
    for (let at = 0; at < 5 * MiB; at += MiB) body.push(bytes.subarray(at, at + MiB));
    await vi.waitFor(() => expect(spooling.view.state().contiguous).toBe(5 * MiB), { timeout: 15_000 });
    for (const end of ends) end();
    for (let at = 5 * MiB; at < bytes.byteLength; at += MiB) body.push(bytes.subarray(at, at + MiB));
    body.end();
    expect(await filling).toEqual({ digest, size: bytes.byteLength });
    expect(ends).toHaveLength(1);
    await spooling.release();
    expect(counted.out()).toBe(0);
  });

  it('fails, but leaves nobody to go on alone, where the thread ends and the file cannot be read', async () => {
    const elsewhere = (of: Digest) => {
      const { port1, port2 } = new MessageChannel();
      port2.close();
      return createThreadHash(of, () => port1);
    };
    const spooling = createSpooling(file, digest, { slabs: sharedSlabs, hashElsewhere: elsewhere });
    vi.spyOn(file, 'read').mockRejectedValue(new Error('bad sector'));
    const failure = await spooling.fill(chunked(bytes)).catch((error) => error);
    expect(failure.message).toBe('cannot hash again what came: bad sector');
    expect(isLocal(failure)).toBe(false);
    await spooling.release();
  });

  describe('once it proved to come faster than this thread takes it', () => {
    const large = seededBytes('fast', 9 * MiB + 17);
    // On which no time passes.
    const clock = manualClock();
    const ofLarge = digestOf(large);

    /** As a lane gives it: the first bytes at once, then all that the memory holds that is read into. */
    function pieces(size: number): Uint8Array[] {
      const ends = [1000, 300_000];
      while ((ends.at(-1) as number) < large.byteLength) ends.push((ends.at(-1) as number) + size);
      return ends.map((end, index) => sharedCopy(large.subarray(ends[index - 1] ?? 0, end)));
    }

    function sharedCopy(bytes: Uint8Array): Uint8Array {
      const copy = Buffer.from(new SharedArrayBuffer(bytes.byteLength));
      copy.set(bytes);
      return copy;
    }

    it.each([MiB, MiB + 1])('gives the digest of what came, from its first byte on, in pieces of %s', async (size) => {
      const counted = countedSlabs();
      const asked = vi.fn((of: Digest, isFast: boolean) => (isFast ? hashElsewhere(of) : undefined));
      const spooling = createSpooling(file, ofLarge, { slabs: counted, hashElsewhere: asked, clock });
      spooling.expect(large.byteLength);
      const body = feed(...pieces(size));
      body.end();
      expect(await spooling.fill(body.bytes)).toEqual({ digest: ofLarge, size: large.byteLength });
      expect(asked.mock.calls).toEqual([
        [ofLarge, false],
        [ofLarge, true],
      ]);
      await spooling.release();
      expect(counted.out()).toBe(0);
    });

    it('goes on here from the file where the thread ends', async () => {
      const ends: (() => void)[] = [];
      const counted = countedSlabs();
      const elsewhere = (of: Digest, isFast: boolean) => {
        if (!isFast) return undefined;
        const { port1, port2 } = new MessageChannel();
        serveHashes(port2);
        ends.push(() => port2.close());
        return createThreadHash(of, () => port1);
      };
      const spooling = createSpooling(file, ofLarge, { slabs: counted, hashElsewhere: elsewhere, clock });
      spooling.expect(large.byteLength);
      const [first, second, third, fourth, fifth, ...others] = pieces(MiB) as [Uint8Array, ...Uint8Array[]];
      const begun = [first, second, third, fourth, fifth].filter((piece) => piece !== undefined);
      const body = feed(...begun);
      const filling = spooling.fill(body.bytes);
      const came = begun.reduce((length, piece) => length + piece.byteLength, 0);
      await vi.waitFor(() => expect(spooling.view.state().contiguous).toBe(came), { timeout: 15_000 });
      for (const end of ends) end();
      for (const piece of others) body.push(piece);
      body.end();
      expect(await filling).toEqual({ digest: ofLarge, size: large.byteLength });
      expect(ends).toHaveLength(1);
      await spooling.release();
      expect(counted.out()).toBe(0);
    });
  });

  it('asks no thread for a small blob', async () => {
    const small = bytes.subarray(0, MiB);
    const asked = vi.fn(hashElsewhere);
    const spooling = createSpooling(file, digestOf(small), { slabs, hashElsewhere: asked });
    spooling.expect(MiB);
    await spooling.fill(chunked(small));
    expect(asked).not.toHaveBeenCalled();
    await spooling.release();
  });
});

describe.each(['here', 'in a thread'])('abandoned, hashed %s', (where) => {
  const parts = () => (where === 'here' ? { slabs } : { slabs: sharedSlabs, hashElsewhere });
  const bytes = seededBytes('abandoned', 12 * MiB);
  const gone = new Error('no space left');

  /** One of which 8 MiB came, 5 of them to the file, with readers at these positions. */
  async function abandonedAt(positions: number[], total: number | undefined = bytes.byteLength) {
    const spooling = createSpooling(file, digestOf(bytes), parts());
    spooling.expect(total);
    const readers = positions.map((position) => spooling.view.open(() => position));
    const append = file.append;
    let appended = 0;
    vi.spyOn(file, 'append').mockImplementation((chunk) => {
      appended += chunk.byteLength;
      if (appended <= 5 * MiB) append(chunk);
    });
    const body = feed();
    const filling = expect(spooling.fill(body.bytes)).rejects.toThrow('over');
    for (let at = 0; at < 8 * MiB; at += 64 * 1024) body.push(bytes.subarray(at, at + 64 * 1024));
    await vi.waitFor(() => expect(spooling.view.state().contiguous).toBe(8 * MiB));
    await file.flush();
    body.push(new Uint8Array());
    await vi.waitFor(() => expect(body.taken).toBe(129));
    await new Promise((resolve) => setImmediate(resolve));
    spooling.abandon(gone);
    body.fail(new Error('over'));
    await filling;
    return { spooling, readers };
  }

  it('leaves what is in the file, and its hash', async () => {
    const { spooling } = await abandonedAt([]);
    const { view } = spooling;
    expect(view.state()).toMatchObject({ phase: 'abandoned', contiguous: 5 * MiB });
    expect(view.failure).toBe(gone);
    const { length, hash } = view.prefix(7 * MiB)!;
    expect(length).toBe(5 * MiB);
    expect(await hash.copy().digest()).toBe(digestOf(bytes.subarray(0, 5 * MiB)));
    await spooling.release();
  });

  it('leaves those who were further a hash up to where they are, and no bytes in memory', async () => {
    const further = [5 * MiB + 1, 6 * MiB, 6 * MiB, 8 * MiB - 3];
    const { spooling, readers } = await abandonedAt([8 * MiB - 3, 6 * MiB, 0, 5 * MiB + 1, 6 * MiB, 10 * MiB]);
    const { view } = spooling;
    for (const position of further) {
      const { length, hash } = view.prefix(position)!;
      expect(length).toBe(position);
      expect(await hash.copy().digest()).toBe(digestOf(bytes.subarray(0, position)));
    }
    // What has not come yet was given to nobody.
    expect(view.prefix(10 * MiB)).toMatchObject({ length: 5 * MiB });
    expect([0, 4, 5, 6, 7].map((at) => view.recent(at * MiB))).toEqual(Array(5).fill(undefined));
    await Promise.all([spooling.release(), ...readers.map((reader) => reader.close())]);
  });

  it.each([
    ['a small blob', MiB, MiB, 0],
    ['the end of a larger one', 2 * MiB, 2 * MiB - 64 * 1024 + 1, MiB],
    ['one of unknown size', undefined, 2 * MiB, MiB],
  ])('18: leaves nothing of what was held back of %s', async (_, total, came, kept) => {
    const spooling = createSpooling(file, digestOf(bytes), parts());
    spooling.expect(total);
    const body = feed();
    const filling = expect(spooling.fill(body.bytes)).rejects.toThrow('over');
    for (let at = 0; at < came; at += MiB) body.push(bytes.subarray(at, Math.min(at + MiB, came)));
    await vi.waitFor(() => expect(spooling.view.state().contiguous).toBe(came));
    await file.flush();
    body.push(new Uint8Array());
    body.fail(new Error('over'));
    await filling;
    spooling.abandon(gone);
    expect(spooling.view.state().contiguous).toBe(kept);
    await spooling.release();
  });
});
