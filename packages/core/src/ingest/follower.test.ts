import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Feed, feed, openFiles, seededBytes } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Digest, digestOf } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import { collect } from '../runtime/bytes.ts';
import { follow, untilReadable, visibleBytes } from './follower.ts';
import { createSpoolFile, type SpoolFile } from './spool-file.ts';
import { createSpooling, type Spooling } from './spooling.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const { signal } = new AbortController();
const bytes = seededBytes('blob', 8 * MiB);
const buffers = createBuffers(8 * MiB);
let directory: string;
let file: SpoolFile;
let spooling: Spooling;
let upstream: Feed;
let filling: Promise<{ digest: Digest; size: number }>;
let sent: number;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'follower-'));
  file = await createSpoolFile(join(directory, 'file'));
  spooling = createSpooling(file, digestOf(bytes));
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
  spooling.verify();
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
  spooling.verify();
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
    spooling.verify();
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
