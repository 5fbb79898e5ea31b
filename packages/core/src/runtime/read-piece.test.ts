import { manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { type Buffers, createBuffers } from './buffers.ts';
import { readPiece } from './read-piece.ts';

const MiB = 1024 * 1024;
const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
const reading = (from: Buffer = content) => ({
  read: async (into: Uint8Array, position: number) => from.copy(into, 0, position),
});

/** A pool that tells what was done with its buffers. */
function pool(maxBytes: number): { buffers: Buffers; told: string[] } {
  const buffers = createBuffers(maxBytes, manualClock());
  const told: string[] = [];
  const tell =
    (what: 'give' | 'drop') =>
    (buffer: Uint8Array): void => {
      told.push(what);
      buffers[what](buffer);
    };
  const take: Buffers['take'] = (pace, length) => {
    told.push('take');
    return buffers.take(pace, length);
  };
  return { buffers: { ...buffers, take, give: tell('give'), drop: tell('drop') }, told };
}

test('a short source is read as a whole, into memory that is given back when it is done with', async () => {
  const { buffers, told } = pool(64 * MiB);
  const piece = await readPiece(reading(), content.byteLength, buffers);
  expect(Buffer.from(piece!.bytes)).toEqual(content);
  expect(told).toEqual(['take']);
  piece?.letGo();
  expect(told).toEqual(['take', 'give']);
});

test('one of any length up to a MiB is, where there is memory; a longer one and an empty one are not', async () => {
  const { buffers, told } = pool(64 * MiB);
  for (const size of [1, 16 * 1024 + 1, 256 * 1024 + 1, MiB]) {
    const piece = await readPiece(reading(Buffer.alloc(size, 7)), size, buffers);
    expect(piece?.bytes.byteLength).toBe(size);
    piece?.letGo();
  }
  told.length = 0;
  for (const size of [0, MiB + 1]) expect(await readPiece(reading(Buffer.alloc(size)), size, buffers)).toBeUndefined();
  expect(told).toEqual([]);
});

test('where memory is short nothing is read, and nothing kept', async () => {
  const { buffers, told } = pool(0);
  const source = { read: () => Promise.reject(new Error('it was read')) };
  expect(await readPiece(source, content.byteLength, buffers)).toBeUndefined();
  expect(told).toEqual(['take', 'give']);
});

test('a source that is shorter than it was is no piece', async () => {
  const { buffers, told } = pool(64 * MiB);
  expect(await readPiece(reading(content.subarray(1)), content.byteLength, buffers)).toBeUndefined();
  expect(told).toEqual(['take', 'give']);
});

test('memory that a failed read may still land in is never lent again', async () => {
  const { buffers, told } = pool(64 * MiB);
  const source = { read: () => Promise.reject(new Error('the disk hangs')) };
  await expect(readPiece(source, content.byteLength, buffers)).rejects.toThrow('the disk hangs');
  expect(told).toEqual(['take', 'drop']);
});
