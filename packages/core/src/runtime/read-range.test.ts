import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { type Buffers, createBuffers } from './buffers.ts';
import { collect } from './bytes.ts';
import { createDeferred } from './deferred.ts';
import { type RandomAccess, readRange } from './read-range.ts';

const content = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => i % 251));

function source(options: { before?: () => Promise<void>; most?: number } = {}): RandomAccess & { closed: number } {
  const opened = {
    closed: 0,
    async read(into: Uint8Array, position: number) {
      await options.before?.();
      return content.copy(into, 0, position, Math.min(position + into.byteLength, position + (options.most ?? 1e9)));
    },
    async close() {
      opened.closed++;
    },
  };
  return opened;
}

/** Buffers that know which are out, and which were given up. */
function watched(
  buffers: Buffers = createBuffers(10 * 1024 * 1024),
): Buffers & { out: Set<Uint8Array>; dropped: Uint8Array[] } {
  const out = new Set<Uint8Array>();
  const dropped: Uint8Array[] = [];
  return {
    out,
    dropped,
    clock: buffers.clock,
    turns: buffers.turns,
    hasRoom: buffers.hasRoom,
    take(pace, length) {
      const buffer = buffers.take(pace, length);
      out.add(buffer);
      return buffer;
    },
    give(buffer) {
      expect(out.delete(buffer)).toBe(true);
      buffers.give(buffer);
    },
    drop(buffer) {
      expect(out.delete(buffer)).toBe(true);
      dropped.push(buffer);
      buffers.drop(buffer);
    },
  };
}

it.each([
  [0, 999_999],
  [0, 0],
  [999_999, 999_999],
  [123, 700_000],
  [262_143, 262_144],
])('gives bytes %i to %i, closes once, and gives its buffer back', async (from, to) => {
  const buffers = watched();
  const file = source();
  const got = await collect(readRange(file, { from, to }, buffers), 1e9);
  expect(Buffer.from(got!).equals(content.subarray(from, to + 1))).toBe(true);
  expect(file.closed).toBe(1);
  expect(buffers.out.size).toBe(0);
});

it('gives nothing of an empty range', async () => {
  const file = source();
  expect(await collect(readRange(file, { from: 0, to: -1 }, watched()), 1e9)).toHaveLength(0);
  expect(file.closed).toBe(1);
});

it('goes on after reads that give less than was asked for', async () => {
  const got = await collect(readRange(source({ most: 1000 }), { from: 5, to: 99_999 }, watched()), 1e9);
  expect(Buffer.from(got!).equals(content.subarray(5, 100_000))).toBe(true);
});

it('fails where the content ends early: a short body must never look complete', async () => {
  const buffers = watched();
  const file = source();
  const reading = collect(readRange(file, { from: 999_990, to: 1_000_009 }, buffers), 1e9);
  await expect(reading).rejects.toThrow('content ends at byte 1000000, expected 1000010 bytes');
  expect(file.closed).toBe(1);
  expect(buffers.out.size).toBe(0);
});

it('closes when it is returned from before the first chunk', async () => {
  const file = source();
  await readRange(file, { from: 0, to: 9 }, watched())[Symbol.asyncIterator]().return?.();
  expect(file.closed).toBe(1);
});

it('keeps its buffer until a read under way has landed, when it is returned from meanwhile', async () => {
  const landing = createDeferred<void>();
  const buffers = watched();
  const file = source({ before: () => landing.promise });
  const iterator = readRange(file, { from: 0, to: 9 }, buffers)[Symbol.asyncIterator]();
  const waiting = iterator.next();
  const leaving = iterator.return?.();
  await new Promise((resolve) => setImmediate(resolve));
  expect(buffers.out.size).toBe(1);
  expect(file.closed).toBe(0);
  landing.resolve();
  await leaving;
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(buffers.out.size).toBe(0);
  expect(file.closed).toBe(1);
});

it('never hands on the buffer of a read that failed: it may still be written to', async () => {
  const buffers = watched();
  const file = source({ before: () => Promise.reject(new Error('too slow')) });
  await expect(collect(readRange(file, { from: 0, to: 9 }, buffers), 1e9)).rejects.toThrow('too slow');
  expect(buffers.dropped).toHaveLength(1);
  expect(file.closed).toBe(1);
});

describe('while its consumer works on a chunk', () => {
  const MiB = 1024 * 1024;

  /** A file that tells where it was read, and fails or waits there if told to. */
  function tracked(options: { at?: (position: number) => Promise<void> } = {}) {
    const positions: number[] = [];
    const file: RandomAccess = {
      async read(into, position) {
        positions.push(position);
        await options.at?.(position);
        into.fill(position / MiB);
        return into.byteLength;
      },
      close: async () => undefined,
    };
    return { file, positions };
  }

  function reader(file: RandomAccess, maxBytes = 64 * MiB) {
    const clock = manualClock();
    const buffers = watched(createBuffers(maxBytes, clock));
    return { clock, buffers, chunks: readRange(file, { from: 0, to: 64 * MiB - 1 }, buffers)[Symbol.asyncIterator]() };
  }

  it('the next one is read, into memory of its own', async () => {
    const { file, positions } = tracked();
    const { buffers, chunks } = reader(file);
    const first = await chunks.next();
    expect(positions).toEqual([0, MiB]);
    expect(buffers.out.size).toBe(2);
    const kept = first.value!;
    await new Promise((resolve) => setImmediate(resolve));
    expect(kept.every((byte: number) => byte === 0)).toBe(true);
    expect((await chunks.next()).value![0]).toBe(1);
    expect(positions).toEqual([0, MiB, 2 * MiB]);
    expect(buffers.out.size).toBe(2);
    await chunks.return?.();
    expect(buffers.out.size).toBe(0);
  });

  it('nothing is read for one that is slow: it holds one smaller buffer, until it has long been quick again', async () => {
    const { file, positions } = tracked();
    const { clock, buffers, chunks } = reader(file);
    await chunks.next();
    await clock.advance(1_000);
    await chunks.next();
    expect((await chunks.next()).value!.byteLength).toBe(MiB / 4);
    expect(positions).toEqual([0, MiB, 2 * MiB]);
    expect(buffers.out.size).toBe(1);
    while ((await chunks.next()).value!.byteLength < MiB);
    expect(positions.at(-1)).toBeGreaterThan(8 * MiB);
    expect(buffers.out.size).toBe(2);
    await chunks.return?.();
    expect(buffers.out.size).toBe(0);
  });

  it('a failure of the next read waits for its turn, and its memory is never handed on', async () => {
    const { file } = tracked({
      at: async (position) => (position === 0 ? undefined : Promise.reject(new Error('bad'))),
    });
    const { buffers, chunks } = reader(file);
    expect((await chunks.next()).value).toHaveLength(MiB);
    await new Promise((resolve) => setImmediate(resolve));
    await expect(chunks.next()).rejects.toThrow('bad');
    expect(buffers.out.size).toBe(0);
    expect(buffers.dropped).toHaveLength(1);
  });

  it('what it leaves unread goes back only once the read under way has landed', async () => {
    const landing = createDeferred<void>();
    const { file } = tracked({ at: async (position) => (position === 0 ? undefined : landing.promise) });
    const { buffers, chunks } = reader(file);
    await chunks.next();
    const leaving = chunks.return?.();
    await new Promise((resolve) => setImmediate(resolve));
    expect(buffers.out.size).toBe(1);
    landing.resolve();
    await leaving;
    expect(buffers.out.size).toBe(0);
    expect(await chunks.next()).toEqual({ done: true, value: undefined });
  });

  it('nothing is read where memory is scarce', async () => {
    const { file, positions } = tracked();
    const { buffers, chunks } = reader(file, 0);
    expect((await chunks.next()).value!.byteLength).toBe(16 * 1024);
    expect(positions).toEqual([0]);
    await chunks.return?.();
    expect(buffers.out.size).toBe(0);
  });
});
