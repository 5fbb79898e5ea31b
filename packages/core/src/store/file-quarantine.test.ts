import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Digest, digestHex, digestOf } from '../oci/digest.ts';
import type { BlobStore } from './blob-store.ts';
import { fileStorage } from './file-storage.ts';

const { signal } = new AbortController();
const right = Buffer.from('right');
const digest = digestOf(right);
let directory: string;
let clock: ManualClock;
let blobs: BlobStore;

beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'file-quarantine-'));
  clock = manualClock();
  blobs = fileStorage(directory, { clock }).blobs;
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

const folder = (of = 'sha256') => join(directory, 'quarantine', of);
const pathOf = (of: Digest) => join(directory, 'blobs/sha256', digestHex(of));
const put = (text: string, as = digest) => blobs.put({ digest: as, bytes: Buffer.from(text), signal });

/** A spooled file, as `adopt` wants it. */
function spooled(): { file: string; size: number } {
  const file = join(directory, 'spool/spooled');
  fs.writeFileSync(file, right);
  return { file, size: right.byteLength };
}

async function expectStored(): Promise<void> {
  const blob = await blobs.open(digest, { signal });
  expect(blob?.size).toBe(right.byteLength);
  await blob?.close();
}

describe('quarantine', () => {
  test('keeps the wrong bytes under their digest and the instant', async () => {
    const at = clock.now();
    await put('wrong');
    expect(await blobs.quarantine(digest, { signal })).toBe(true);
    await clock.advance(5);
    await put('worse');
    expect(await blobs.quarantine(digest, { signal })).toBe(true);
    const kept = fs.readdirSync(folder()).map((name) => [name, fs.readFileSync(join(folder(), name), 'utf8')]);
    expect(kept).toEqual([
      [`${digestHex(digest)}.${at}`, 'wrong'],
      [`${digestHex(digest)}.${at + 5}`, 'worse'],
    ]);
  });

  test('keeps the newest hundred, of both algorithms together, and leaves what is none of its own', async () => {
    fs.writeFileSync(join(folder(), 'notes-of-a-person.txt'), 'look here');
    for (let time = 0; time < 103; time++) {
      await clock.advance(1);
      const as = digestOf(Buffer.from(String(time)), time % 2 ? 'sha512' : 'sha256');
      await put(String(time), as);
      await blobs.quarantine(as, { signal });
    }
    const kept = [...fs.readdirSync(folder()), ...fs.readdirSync(folder('sha512'))];
    expect(kept).toHaveLength(101);
    expect(kept).toContain('notes-of-a-person.txt');
    const oldest = Math.min(...kept.map((name) => Number(name.split('.')[1]) || Number.POSITIVE_INFINITY));
    expect(oldest).toBe(clock.now() - 99);
  });

  test('keeps no more than 1 GiB, and no single one that is larger, be it the newest', async () => {
    for (const [time, gib] of [0.25, 3, 0.5, 0.375, 2].entries()) {
      await clock.advance(1);
      const as = digestOf(Buffer.from(String(time)));
      await put('', as);
      fs.truncateSync(pathOf(as), gib * 1024 ** 3);
      await blobs.quarantine(as, { signal });
    }
    const sizes = fs.readdirSync(folder()).map((name) => fs.statSync(join(folder(), name)).size / 1024 ** 3);
    expect(sizes.sort()).toEqual([0.375, 0.5]);
  });

  test('keeps none for longer than a week', async () => {
    await put('wrong');
    await blobs.quarantine(digest, { signal });
    for (const [days, kept] of [
      [6, 2],
      [1.5, 2],
      [7.5, 1],
    ] as const) {
      await clock.advance(days * 24 * 3_600_000);
      await put(String(days));
      await blobs.quarantine(digest, { signal });
      expect(fs.readdirSync(folder())).toHaveLength(kept);
    }
  });

  test('of two of one instant keeps the one that was stored later', async () => {
    const old = digestOf(Buffer.from('old'));
    for (const [as, age] of [
      [digest, 0],
      [old, 60],
    ] as const) {
      await put('', as);
      fs.truncateSync(pathOf(as), 0.75 * 1024 ** 3);
      const storedAt = clock.now() / 1000 - age;
      fs.utimesSync(pathOf(as), storedAt, storedAt);
      await blobs.quarantine(as, { signal });
    }
    expect(fs.readdirSync(folder())).toEqual([expect.stringContaining(digestHex(digest))]);
  });

  test('works where its folder was removed, and in a folder of a release that had none', async () => {
    await put('wrong');
    fs.rmSync(join(directory, 'quarantine'), { recursive: true });
    expect(await blobs.quarantine(digest, { signal })).toBe(true);
    expect(fs.readdirSync(folder())).toHaveLength(1);
    fs.rmSync(join(directory, 'quarantine'), { recursive: true });
    blobs = fileStorage(directory, { clock }).blobs;
    await put('wrong');
    expect(await blobs.quarantine(digest, { signal })).toBe(true);
    expect(await blobs.quarantine(digest, { signal })).toBe(false);
  });

  test('that cannot be written to leaves the blob where it is', async () => {
    await put('wrong');
    fs.rmSync(join(directory, 'quarantine'), { recursive: true });
    fs.writeFileSync(join(directory, 'quarantine'), 'in the way');
    await expect(blobs.quarantine(digest, { signal })).rejects.toMatchObject({ code: 'storage-failed' });
    await expectStored();
  });

  test('of two processes on one folder, one takes it', async () => {
    const other = fileStorage(directory, { clock }).blobs;
    await put('wrong');
    const taken = await Promise.all([blobs, other].map((store) => store.quarantine(digest, { signal })));
    expect(taken.sort()).toEqual([false, true]);
    await put('right');
    await expectStored();
  });
});

describe('a folder in the place of a blob', () => {
  const inTheWay = () => {
    fs.mkdirSync(pathOf(digest));
    fs.writeFileSync(join(pathOf(digest), 'file'), 'of somebody');
  };
  const keptFile = () => join(folder(), fs.readdirSync(folder())[0]!, 'file');

  test('goes into quarantine, whole, when the blob is adopted', async () => {
    inTheWay();
    await blobs.adopt({ ...spooled(), digest, signal });
    await expectStored();
    expect(fs.readFileSync(keptFile(), 'utf8')).toBe('of somebody');
  });

  test('goes into quarantine, whole, when the blob is put', async () => {
    inTheWay();
    await put('right');
    await expectStored();
    expect(fs.readFileSync(keptFile(), 'utf8')).toBe('of somebody');
  });

  test('goes into quarantine when it is to be deleted', async () => {
    inTheWay();
    expect(await blobs.delete(digest, { signal })).toBe(true);
    expect(await blobs.open(digest, { signal })).toBeUndefined();
    expect(fs.readFileSync(keptFile(), 'utf8')).toBe('of somebody');
  });
});
