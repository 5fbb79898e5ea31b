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

const followed = (part?: ByteRange) => follow(spooling.view, buffers, part)[Symbol.asyncIterator]();
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
    const early = collect(follow(spooling.view, buffers, part), 1e9);
    await finish();
    const late = collect(follow(spooling.view, buffers, part), 1e9);
    for (const got of [await early, await late]) {
      expect(Buffer.from(got!).equals(bytes.subarray(part.from, part.to + 1))).toBe(true);
    }
  });

  it('ends without the rest of the transfer', async () => {
    const reading = collect(follow(spooling.view, buffers, { from: 10, to: 19 }), 1e9);
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

it('waits for the second try where the first was wrong and nothing of it had left', async () => {
  const right = seededBytes('small', 10 * KiB);
  const small = createSpooling(await createSpoolFile(join(directory, 'small')), digestOf(right));
  small.expect(right.byteLength);
  const reading = collect(follow(small.view, buffers), 1e9);
  for (const given of [seededBytes('wrong', 10 * KiB), right]) {
    if (given === right) await small.restart();
    const body = feed(given);
    body.end();
    await small.fill(body.bytes);
  }
  small.verify();
  expect(Buffer.from((await reading)!).equals(right)).toBe(true);
  await small.release();
});
