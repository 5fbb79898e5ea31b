import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Feed, feed, gate, openFiles, seededBytes } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Digest, digestOf } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import { bytesOf, collect } from '../runtime/bytes.ts';
import { createSlabs } from '../runtime/slabs.ts';
import { follow, type Rest, untilReadable, visibleBytes } from './follower.ts';
import { createSpoolFile, type SpoolFile } from './spool-file.ts';
import { createSpooling, type Spooling } from './spooling.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const { signal } = new AbortController();
const bytes = seededBytes('blob', 8 * MiB);
const buffers = createBuffers(8 * MiB);
const slabs = createSlabs(64 * MiB);
let directory: string;
let file: SpoolFile;
let spooling: Spooling;
let upstream: Feed;
let filling: Promise<{ digest: Digest; size: number }>;
let sent: number;
let unclosed: unknown[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'follower-'));
  file = await createSpoolFile(join(directory, 'file'));
  unclosed = [];
  spooling = createSpooling(file, digestOf(bytes), { slabs, unclosed: (cause) => unclosed.push(cause) });
  spooling.expect(bytes.byteLength);
  upstream = feed();
  sent = 0;
  filling = spooling.fill(upstream.bytes);
});
afterEach(async () => {
  upstream.end();
  await filling.catch(() => undefined);
  await spooling.release();
  // Every reader let go of the file.
  expect(openFiles(directory)).toEqual([]);
  rmSync(directory, { recursive: true });
});

/** Lets the upstream send up to a position. */
async function send(until: number): Promise<void> {
  for (; sent < until; sent += 64 * KiB) upstream.push(bytes.subarray(sent, Math.min(sent + 64 * KiB, until)));
  sent = until;
  await vi.waitFor(() => expect(spooling.view.state().contiguous).toBe(until));
  await file.flush();
}

/** Lets the upstream send so much that the beginning is in the file alone. */
async function sendMuch(): Promise<void> {
  await send(4 * MiB);
  await send(4 * MiB + 64 * KiB);
}

async function finish(): Promise<void> {
  await send(bytes.byteLength);
  upstream.end();
  await filling;
  void spooling.verify();
}

const followed = (part?: ByteRange) => follow(spooling.view, buffers, { part })[Symbol.asyncIterator]();
const soon = () => new Promise<'waits'>((resolve) => setTimeout(() => resolve('waits'), 10));

it('gives readers at different speeds identical bytes, in step or behind', async () => {
  const eager = collect(follow(spooling.view, buffers), 1e9);
  const lazy = followed();
  const got: Buffer[] = [];
  await send(5 * MiB);
  got.push(Buffer.from((await lazy.next()).value!));
  await finish();
  for (let next = await lazy.next(); !next.done; next = await lazy.next()) {
    got.push(Buffer.from(next.value));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const late = await collect(follow(spooling.view, buffers), 1e9);
  expect(Buffer.concat(got).equals(bytes)).toBe(true);
  expect(Buffer.from((await eager)!).equals(bytes)).toBe(true);
  expect(Buffer.from(late!).equals(bytes)).toBe(true);
});

it('reads what is in memory no longer from the file', async () => {
  const read = vi.spyOn(file, 'read');
  await sendMuch();
  const behind = followed();
  const chunk = (await behind.next()).value!;
  expect(read).toHaveBeenCalled();
  expect(Buffer.from(chunk).equals(bytes.subarray(0, chunk.byteLength))).toBe(true);
  read.mockClear();
  const inStep = followed({ from: 4 * MiB - 100, to: 8 * MiB });
  await inStep.next();
  expect(read).not.toHaveBeenCalled();
  await Promise.all([behind.return?.(), inStep.return?.()]);
});

it('is not slowed by one that does not read', async () => {
  const stuck = followed();
  const reading = collect(follow(spooling.view, buffers), 1e9);
  await finish();
  expect(Buffer.from((await reading)!).equals(bytes)).toBe(true);
  await stuck.return?.();
});

it('is not slowed by a crowd that stopped reading, however many of its readers that is', async () => {
  const crowd = Array.from({ length: 50 }, () => followed());
  const first = Promise.all(crowd.map((reader) => reader.next()));
  const reading = collect(follow(spooling.view, buffers), 1e9);
  await send(2 * MiB);
  await first;
  await finish();
  expect(Buffer.from((await reading)!).equals(bytes)).toBe(true);
  await Promise.all(crowd.map((reader) => reader.return?.()));
});

it('holds the end back until all is verified', async () => {
  const reader = followed();
  await send(bytes.byteLength);
  upstream.end();
  await filling;
  let position = 0;
  while (position < bytes.byteLength - 64 * KiB) position += (await reader.next()).value!.byteLength;
  expect(position).toBe(bytes.byteLength - 64 * KiB);
  const end = reader.next();
  expect(await Promise.race([end, soon()])).toBe('waits');
  void spooling.verify();
  position += (await end).value!.byteLength;
  for (let next = await reader.next(); !next.done; next = await reader.next()) position += next.value.byteLength;
  expect(position).toBe(bytes.byteLength);
});

it('fails with the failure, and gives nothing of what was held back', async () => {
  const reader = followed();
  const whole = collect(follow(spooling.view, buffers), 1e9);
  await send(2 * MiB);
  await reader.next();
  spooling.fail(new Error('wrong digest'));
  await expect(reader.next()).rejects.toThrow('wrong digest');
  expect(await reader.next()).toEqual({ done: true, value: undefined });
  await expect(whole).rejects.toThrow('wrong digest');
});

describe('a part', () => {
  it.each([
    { from: 0, to: 0 },
    { from: 5, to: 3 * MiB },
    { from: 7 * MiB, to: 8 * MiB - 1 },
    { from: 8 * MiB - 1, to: 8 * MiB - 1 },
  ])('from $from to $to is given exactly', async (part) => {
    const early = collect(follow(spooling.view, buffers, { part }), 1e9);
    await finish();
    const late = collect(follow(spooling.view, buffers, { part }), 1e9);
    for (const got of [await early, await late]) {
      expect(Buffer.from(got!).equals(bytes.subarray(part.from, part.to + 1))).toBe(true);
    }
  });

  it('ends without the rest of the transfer', async () => {
    const reading = collect(follow(spooling.view, buffers, { part: { from: 10, to: 19 } }), 1e9);
    await send(MiB);
    expect(Buffer.from((await reading)!).equals(bytes.subarray(10, 20))).toBe(true);
  });
});

describe('return()', () => {
  it('before the first next() lets go of the file', async () => {
    const reader = followed();
    await reader.return?.();
    expect(await reader.next()).toEqual({ done: true, value: undefined });
  });

  it('ends a next() that waits', async () => {
    const reader = followed();
    const waiting = reader.next();
    expect(await Promise.race([waiting, soon()])).toBe('waits');
    await reader.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    await reader.return?.();
  });

  it('ends a next() that reads the file, once the read has landed', async () => {
    await sendMuch();
    let land = (): void => undefined;
    const real = file.read;
    vi.spyOn(file, 'read').mockImplementation(async (into, position) => {
      await new Promise<void>((resolve) => {
        land = resolve;
      });
      return real(into, position);
    });
    const reader = followed();
    const waiting = reader.next();
    await new Promise((resolve) => setImmediate(resolve));
    const leaving = reader.return?.();
    land();
    await leaving;
    expect(await waiting).toEqual({ done: true, value: undefined });
  });
});

it('stays readable once the file is removed and the transfer has let go of it', async () => {
  await finish();
  const reader = followed();
  await file.remove();
  await spooling.release();
  const got: Buffer[] = [];
  for (let next = await reader.next(); !next.done; next = await reader.next()) got.push(Buffer.from(next.value));
  expect(Buffer.concat(got).equals(bytes)).toBe(true);
  spooling.release = async () => undefined;
});

it('costs its reader nothing when the file cannot be closed', async () => {
  const { close } = file;
  vi.spyOn(file, 'close').mockImplementation(async () => {
    await close();
    throw new Error('EDQUOT');
  });
  const part = follow(spooling.view, buffers, { part: { from: 0, to: 9 } });
  await finish();
  await spooling.release();
  expect(Buffer.from((await collect(part, 1e9))!).equals(bytes.subarray(0, 10))).toBe(true);
  expect(unclosed).toMatchObject([{ message: 'EDQUOT' }]);
  spooling.release = async () => undefined;
});

describe('untilReadable', () => {
  it('waits for a position to be visible, or for the end', async () => {
    const middle = untilReadable(spooling.view, 2 * MiB, signal);
    const beyond = untilReadable(spooling.view, 99 * MiB, signal);
    await send(2 * MiB);
    expect(visibleBytes(spooling.view)).toBe(2 * MiB);
    expect(await Promise.race([middle, soon()])).toBe('waits');
    await send(2 * MiB + 1);
    await middle;
    expect(await Promise.race([beyond, soon()])).toBe('waits');
    await finish();
    await beyond;
  });

  it('fails with the transfer, and with the signal', async () => {
    const leaving = new AbortController();
    const left = untilReadable(spooling.view, 0, leaving.signal);
    const failing = untilReadable(spooling.view, 0, signal);
    leaving.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    spooling.fail(new Error('cut off'));
    await expect(failing).rejects.toThrow('cut off');
  });
});

describe('where the transfer starts anew', () => {
  const why = new Error('wrong bytes');
  const at = 3 * MiB + 100;
  const wrong = Uint8Array.from(bytes);
  wrong[at] = (wrong[at] ?? 0) ^ 1;

  /** A try that turned out wrong, and the readers it had when it did. */
  async function wrongTry(positions: readonly number[], part?: ByteRange) {
    for (; sent < wrong.byteLength; sent += 64 * KiB) upstream.push(wrong.subarray(sent, sent + 64 * KiB));
    upstream.end();
    await filling;
    const readers = positions.map((position) => ({ got: [] as Buffer[], position, reader: followed(part) }));
    for (const { got, position, reader } of readers) await readUpTo(reader, got, position);
    await spooling.restart(() => createSpoolFile(join(directory, 'another')), why);
    spooling.expect(bytes.byteLength);
    upstream = feed();
    sent = 0;
    filling = spooling.fill(upstream.bytes);
    return readers;
  }

  async function readUpTo(reader: AsyncIterator<Uint8Array>, got: Buffer[], position: number): Promise<void> {
    while (length(got) < position) got.push(Buffer.from((await reader.next()).value!));
    // The buffers of a file are larger than the steps here.
    expect(length(got)).toBe(position);
  }

  async function sendAnew(until: number): Promise<void> {
    for (; sent < until; sent += 64 * KiB) upstream.push(bytes.subarray(sent, Math.min(sent + 64 * KiB, until)));
    await vi.waitFor(() => expect(spooling.view.state().contiguous).toBe(until));
  }

  const length = (got: readonly Buffer[]) => got.reduce((sum, { byteLength }) => sum + byteLength, 0);

  async function rest({ got, reader }: { got: Buffer[]; reader: AsyncIterator<Uint8Array> }): Promise<Buffer> {
    for (let next = await reader.next(); !next.done; next = await reader.next()) got.push(Buffer.from(next.value));
    return Buffer.concat(got);
  }

  it('goes on for those who have no wrong byte, and fails for the others as soon as that is known', async () => {
    const [none, before, past] = await wrongTry([0, 3 * MiB, 3 * MiB + 256 * KiB]);
    const nexts = [none!, before!, past!].map(({ reader }) => reader.next());
    expect(await Promise.race([...nexts, soon()])).toBe('waits');

    await sendAnew(MiB);
    none!.got.push(Buffer.from((await nexts[0]!).value!));
    expect(await Promise.race([nexts[1], nexts[2], soon()])).toBe('waits');

    const refused = expect(nexts[2]).rejects.toBe(why);
    await sendAnew(4 * MiB);
    before!.got.push(Buffer.from((await nexts[1]!).value!));
    await refused;
    expect(await past!.reader.next()).toEqual({ done: true, value: undefined });

    const late = { got: [], reader: followed() };
    const all = Promise.all([none!, before!, late].map(rest));
    await sendAnew(bytes.byteLength);
    upstream.end();
    await filling;
    void spooling.verify();
    expect((await all).map((got) => got.equals(bytes))).toEqual([true, true, true]);
  });

  it.each([
    ['before the wrong byte', { from: 0, to: 2 * MiB }, true],
    ['that ends with it', { from: 2 * MiB, to: at }, false],
    ['after it', { from: 4 * MiB, to: 5 * MiB }, false],
  ])('goes on with a part %s that was begun: %s', async (_, part, goesOn) => {
    const [begun] = await wrongTry([part.to === at ? at + 1 - part.from : 256 * KiB], part);
    const all = rest(begun!);
    all.catch(() => undefined);
    await sendAnew(bytes.byteLength);
    if (goesOn) expect((await all).equals(bytes.subarray(part.from, part.to + 1))).toBe(true);
    else await expect(all).rejects.toBe(why);
  });

  it('gives a part of which nothing left, wherever the wrong byte was', async () => {
    const part = { from: 4 * MiB, to: 5 * MiB };
    const [fresh] = await wrongTry([0], part);
    const all = rest(fresh!);
    await sendAnew(bytes.byteLength);
    expect((await all).equals(bytes.subarray(part.from, part.to + 1))).toBe(true);
  });

  it('gives nothing that was read of the wrong try', async () => {
    const read = file.read;
    let land = (): void => undefined;
    vi.spyOn(file, 'read').mockImplementationOnce(async (into, position) => {
      await new Promise<void>((resolve) => {
        land = resolve;
      });
      return read(into, position);
    });
    await sendMuch();
    for (; sent < wrong.byteLength; sent += 64 * KiB) upstream.push(wrong.subarray(sent, sent + 64 * KiB));
    upstream.end();
    await filling;
    const reader = followed({ from: at, to: 5 * MiB });
    const reading = reader.next();
    await new Promise((resolve) => setImmediate(resolve));
    await spooling.restart(() => createSpoolFile(join(directory, 'another')), why);
    land();
    upstream = feed();
    sent = 0;
    filling = spooling.fill(upstream.bytes);
    await sendAnew(4 * MiB);
    expect((await reading).value![0]).toBe(bytes[at]);
    await reader.return?.();
  });

  it('fails for those who were told another size', async () => {
    const told = {
      got: [] as Buffer[],
      reader: follow(spooling.view, buffers, { total: bytes.byteLength })[Symbol.asyncIterator](),
    };
    const all = rest(told);
    all.catch(() => undefined);
    await wrongTry([]);
    spooling.expect(bytes.byteLength + 1);
    await sendAnew(64 * KiB);
    await expect(all).rejects.toBe(why);
  });
});

describe('goes on alone', () => {
  const gone = new Error('no space left');
  const rests: Rest[] = [];
  beforeEach(() => {
    rests.length = 0;
  });

  /** A reader that gets the rest of `of` from elsewhere. */
  function ableReader(of: Uint8Array, part?: ByteRange) {
    const closed = vi.fn();
    const reader = follow(spooling.view, buffers, {
      part,
      goOn(rest) {
        rests.push(rest);
        return given(of.subarray(rest.position, (part?.to ?? of.byteLength) + 1));
      },
    })[Symbol.asyncIterator]();
    async function* given(rest: Uint8Array) {
      try {
        yield rest.subarray(0, 10);
        yield rest.subarray(10);
      } finally {
        closed();
      }
    }
    return { reader, closed };
  }

  async function readOn(reader: AsyncIterator<Uint8Array>, got: Buffer[] = [], until = Number.POSITIVE_INFINITY) {
    const length = () => got.reduce((sum, { byteLength }) => sum + byteLength, 0);
    while (length() < until) {
      const next = await reader.next();
      if (next.done) break;
      got.push(Buffer.from(next.value));
    }
    return Buffer.concat(got);
  }

  it('where the transfer is abandoned: behind after what is in the file, in step from where it is', async () => {
    await send(5 * MiB);
    const [behind, inStep, waiting] = [
      ableReader(bytes),
      ableReader(bytes),
      ableReader(bytes, { from: 7 * MiB, to: 8 * MiB - 1 }),
    ];
    const got = [Buffer.from((await behind.reader.next()).value!)];
    const gotInStep: Buffer[] = [];
    await readOn(inStep.reader, gotInStep, 5 * MiB);
    const wait = readOn(waiting.reader);
    upstream.fail(gone);
    await expect(filling).rejects.toBe(gone);
    spooling.abandon(gone);
    const kept = spooling.view.state().contiguous;
    expect(kept).toBeGreaterThanOrEqual(4 * MiB);
    expect((await readOn(behind.reader, got)).equals(bytes)).toBe(true);
    expect((await readOn(inStep.reader, gotInStep)).equals(bytes)).toBe(true);
    expect((await wait).equals(bytes.subarray(7 * MiB))).toBe(true);
    expect(rests.map(({ position }) => position).sort()).toEqual([kept, 5 * MiB, 7 * MiB].sort());
    for (const { position, prefix, confirmed, cause } of rests) {
      expect(prefix!.length).toBe(position === 7 * MiB ? kept : position);
      expect(await prefix!.hash.copy().digest()).toBe(digestOf(bytes.subarray(0, prefix!.length)));
      expect([confirmed, cause]).toEqual([undefined, gone]);
    }
    // Nobody needs the file any more.
    await spooling.release();
    expect(openFiles(directory)).toEqual([]);
    spooling.release = async () => undefined;
  });

  it('not where it was not told how: it fails', async () => {
    await send(5 * MiB);
    const reader = followed();
    spooling.abandon(gone);
    await expect(readOn(reader)).rejects.toBe(gone);
  });

  it('not where it has all it wants', async () => {
    await send(5 * MiB);
    const { reader } = ableReader(bytes, { from: 0, to: MiB });
    spooling.abandon(gone);
    expect((await readOn(reader)).equals(bytes.subarray(0, MiB + 1))).toBe(true);
    expect(rests).toEqual([]);
  });

  it('and gives nothing that was read beyond what is left', async () => {
    await send(6 * MiB);
    const { reader } = ableReader(bytes, { from: 6 * MiB - 10, to: 8 * MiB - 1 });
    vi.spyOn(spooling.view, 'recent').mockReturnValue(undefined);
    vi.spyOn(file, 'written', 'get').mockReturnValue(5 * MiB);
    const reading = readOn(reader);
    spooling.abandon(gone);
    expect((await reading).equals(bytes.subarray(6 * MiB - 10))).toBe(true);
    expect(rests).toMatchObject([{ position: 6 * MiB - 10, prefix: { length: 6 * MiB - 10 } }]);
  });

  it('and closes what it goes on with when it is left', async () => {
    await send(5 * MiB);
    spooling.abandon(gone);
    const { reader, closed } = ableReader(bytes, { from: 6 * MiB, to: 7 * MiB });
    await reader.next();
    await reader.return?.();
    expect(closed).toHaveBeenCalledTimes(1);
  });

  it.each(['EIO', 'an early end'])(
    'where the file cannot be read (%s), with the end of the transfer as the proof',
    async (how) => {
      await sendMuch();
      const { reader } = ableReader(bytes);
      const got = [Buffer.from((await reader.next()).value!)];
      const read = vi.spyOn(file, 'read');
      if (how === 'EIO') read.mockRejectedValue(new Error('EIO'));
      else read.mockResolvedValue(0);
      expect((await readOn(reader, got)).equals(bytes)).toBe(true);
      expect(rests).toMatchObject([{ position: got[0]!.byteLength, prefix: undefined }]);
      const { confirmed } = rests[0]!;
      // The reader has left: nobody waits for a proof any more.
      await expect(confirmed!()).rejects.toThrow();

      const second = ableReader(bytes, { from: 5, to: 9 });
      expect((await readOn(second.reader)).equals(bytes.subarray(5, 10))).toBe(true);
      // Of what was given nothing is to be proved.
      expect(rests[1]).toMatchObject({ position: 5, confirmed: undefined });
    },
  );

  it('where the file cannot be read, and what was given is right only once the transfer is verified', async () => {
    await sendMuch();
    const { reader } = ableReader(bytes);
    const first = (await reader.next()).value!.byteLength;
    vi.spyOn(file, 'read').mockRejectedValue(new Error('EIO'));
    await reader.next();
    expect(rests[0]!.position).toBe(first);
    const proved = rests[0]!.confirmed!();
    expect(await Promise.race([proved, soon()])).toBe('waits');
    await finish();
    await proved;
    await reader.return?.();
  });

  it('where neither the file can be read nor the rest be kept, with a hash of more than was given as the proof', async () => {
    await sendMuch();
    const { reader } = ableReader(bytes);
    const first = (await reader.next()).value!.byteLength;
    spooling.abandon(gone);
    vi.spyOn(file, 'read').mockRejectedValue(new Error('EIO'));
    await reader.next();
    expect(rests).toMatchObject([{ position: first, prefix: undefined, confirmed: undefined }]);
    const { length, hash } = rests[0]!.witness!;
    expect(length).toBeGreaterThan(first);
    expect(await hash.copy().digest()).toBe(digestOf(bytes.subarray(0, length)));
    await reader.return?.();
  });

  it.each(['failed', 'abandoned', 'restarted'])(
    'where the file cannot be read, and is told so if the transfer is %s',
    async (how) => {
      await sendMuch();
      const { reader } = ableReader(bytes);
      await reader.next();
      vi.spyOn(file, 'read').mockRejectedValueOnce(new Error('EIO'));
      await reader.next();
      const refused = expect(rests[0]!.confirmed!()).rejects.toBe(gone);
      if (how === 'failed') spooling.fail(gone);
      else if (how === 'abandoned') spooling.abandon(gone);
      else await spooling.restart(() => createSpoolFile(join(directory, 'another')), gone);
      await refused;
      await reader.return?.();
    },
  );
});

it('took another buffer for ever when its reader left during a read that the next try overtook', async () => {
  await sendMuch();
  const out = new Set<Uint8Array>();
  const counted = {
    ...buffers,
    take() {
      const buffer = buffers.take();
      out.add(buffer);
      return buffer;
    },
    give(buffer: Uint8Array) {
      out.delete(buffer);
      buffers.give(buffer);
    },
  };
  const reader = follow(spooling.view, counted)[Symbol.asyncIterator]();
  const held = gate();
  vi.spyOn(file, 'read').mockImplementationOnce(async (into) => {
    await held.pass();
    return into.byteLength;
  });
  const chunk = reader.next();
  await held.reached;
  upstream.end();
  await filling;
  await spooling.restart(() => createSpoolFile(join(directory, 'another')), new Error('wrong bytes'));
  await spooling.fill(bytesOf(bytes));
  const left = reader.return?.();
  held.open();
  await Promise.all([chunk, left]);
  expect(out.size).toBe(0);
});
