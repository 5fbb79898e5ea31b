import { manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { createSlabs } from '../runtime/slabs.ts';
import { createLaneBody } from './lane-body.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

/** A body whose socket reads as Node's does: it is given where to read next as soon as a read was told. */
function filledBody(length = 8 * MiB) {
  const clock = manualClock();
  const slabs = createSlabs(64 * MiB);
  const pieces: Uint8Array[] = [];
  const body = createLaneBody(length, { slabs, clock, push: (piece) => pieces.push(piece) });
  let room = body.room();
  return {
    clock,
    pieces,
    body,
    /** Bytes that come in one read. @returns where they were read to */
    read(bytes: number): Uint8Array {
      const into = room;
      body.took(bytes);
      room = body.left() > 0 ? body.room() : new Uint8Array();
      return into;
    },
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const sizes = (pieces: readonly Uint8Array[]) => pieces.map(({ byteLength }) => byteLength / KiB);

it('passes the first bytes on at once, and what comes soon after them together', async () => {
  const { pieces, read, clock } = filledBody();
  read(16 * KiB);
  expect(sizes(pieces)).toEqual([16]);
  for (let i = 0; i < 4; i++) {
    read(16 * KiB);
    await turn();
  }
  expect(sizes(pieces)).toEqual([16]);
  await clock.advance(10);
  expect(sizes(pieces)).toEqual([16, 64]);
});

it('copied each few packets that a network brings at a time', async () => {
  const { pieces, read, clock } = filledBody();
  read(64 * KiB);
  await turn();
  const memory = read(64 * KiB).buffer;
  for (let i = 0; i < 3; i++) {
    await clock.advance(2);
    read(64 * KiB);
  }
  // With its memory, as soon as it is a batch.
  expect(sizes(pieces)).toEqual([64, 256]);
  expect(pieces[1]?.buffer === memory).toBe(true);
});

it('never gives memory away that a socket may still read into', async () => {
  const { pieces, read, clock } = filledBody();
  for (let i = 0; i < 4; i++) {
    read(100 * KiB);
    await turn();
    await clock.advance(10);
  }
  expect(sizes(pieces)).toEqual([100, 100, 100, 100]);
  const next = read(KiB);
  expect(pieces.some(({ buffer }) => buffer === next.buffer)).toBe(false);
});

it('passes a whole batch on at once, and the end of the body', () => {
  const { pieces, read, body } = filledBody(500 * KiB);
  read(256 * KiB);
  expect(sizes(pieces)).toEqual([256]);
  read(100 * KiB);
  read(144 * KiB);
  expect(sizes(pieces)).toEqual([256, 244]);
  expect(body.left()).toBe(0);
});

it('passes nothing on once it was closed', async () => {
  const { pieces, read, body, clock } = filledBody();
  read(16 * KiB);
  read(16 * KiB);
  body.close();
  await clock.advance(20);
  expect(sizes(pieces)).toEqual([16]);
});

it('gave slabs away for a quarter of what they hold', async () => {
  const { pieces, read, body, clock } = filledBody();
  // 40 MB/s
  while (body.left() > 0) {
    read(16 * KiB);
    await clock.advance(0.4);
  }
  const memory = [...new Set(pieces.map(({ buffer }) => buffer))];
  expect(memory.reduce((sum, { byteLength }) => sum + byteLength, 0)).toBeLessThanOrEqual(2.2 * 8 * MiB);
});

it('reads a megabyte at a time where each read brings as much as there is room for', () => {
  const { pieces, read, body } = filledBody();
  read(100 * KiB);
  while (body.left() > 0) read(body.room().byteLength);
  expect(sizes(pieces)).toEqual([100, 412, ...Array(7).fill(1024), 512]);
  // The last one needs no more.
  expect(pieces.at(-1)?.buffer.byteLength).toBe(512 * KiB);
});

it('takes small memory again for what comes slowly after that', async () => {
  const { pieces, read } = filledBody();
  read(512 * KiB);
  for (let i = 0; i < 6; i++) read(128 * KiB);
  await turn();
  expect(sizes(pieces)).toEqual([512, 256, 256, 256]);
  expect(pieces.map(({ buffer }) => buffer.byteLength / KiB)).toEqual([512, 1024, 512, 512]);
});
