import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFiles } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSpoolFile } from './spool-file.ts';

const disk = vi.hoisted(() => ({
  most: Number.POSITIVE_INFINITY,
  failure: undefined as Error | undefined,
  batches: [] as number[],
}));
vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs')>();
  return {
    ...real,
    writev(fd: number, chunks: Uint8Array[], position: number, done: (error: Error | null, count: number) => void) {
      if (disk.failure) return void setImmediate(() => done(disk.failure ?? null, 0));
      disk.batches.push(chunks.length);
      const whole = Buffer.concat(chunks);
      real.write(fd, whole, 0, Math.min(whole.byteLength, disk.most), position, done);
    },
  };
});

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'spool-file-'));
  path = join(directory, 'file');
});
afterEach(() => {
  disk.most = Number.POSITIVE_INFINITY;
  disk.failure = undefined;
  disk.batches = [];
  expect(openFiles(directory)).toEqual([]);
  rmSync(directory, { recursive: true, force: true });
});

it('holds what is appended, in order', async () => {
  const file = await createSpoolFile(path);
  const chunks = Array.from({ length: 200 }, (_, i) => Buffer.alloc(1000 + i, i));
  for (const chunk of chunks) {
    file.append(chunk);
    await file.ready();
  }
  await file.flush();
  const whole = Buffer.concat(chunks);
  expect(file.written).toBe(whole.byteLength);
  expect(readFileSync(path).equals(whole)).toBe(true);
  const into = new Uint8Array(50);
  expect(await file.read(into, 995)).toBe(50);
  expect(Buffer.from(into).equals(whole.subarray(995, 1045))).toBe(true);
  expect(await file.read(into, whole.byteLength)).toBe(0);
  await file.close();
});

it('writes what waits at once, a MiB at a time', async () => {
  const file = await createSpoolFile(path);
  for (let i = 0; i < 10; i++) file.append(Buffer.alloc(200 * 1024, i));
  await file.flush();
  // The first one was on its way already.
  expect(disk.batches).toEqual([1, 5, 4]);
  file.append(Buffer.alloc(3 * 1024 * 1024, 10));
  await file.flush();
  expect(readFileSync(path)).toHaveLength(5072 * 1024);
  await file.close();
});

it('tells of each chunk when nobody looks at it any more', async () => {
  disk.most = 4;
  const file = await createSpoolFile(path);
  const done: string[] = [];
  for (const text of ['abc', 'def', 'ghi']) file.append(Buffer.from(text), () => done.push(text));
  expect(done).toEqual([]);
  await file.flush();
  expect(done).toEqual(['abc', 'def', 'ghi']);
  disk.failure = new Error('no space left on device');
  for (const text of ['jkl', 'mno']) file.append(Buffer.from(text), () => done.push(text));
  await expect(file.flush()).rejects.toThrow('no space left');
  file.append(Buffer.from('pqr'), () => done.push('pqr'));
  expect(done.slice(3)).toEqual(['jkl', 'mno', 'pqr']);
  await file.close();
});

it('tells of what waits when it is closed, and of what is being written when that has ended', async () => {
  const file = await createSpoolFile(path);
  const done: string[] = [];
  for (const text of ['abc', 'def']) file.append(Buffer.from(text), () => done.push(text));
  const closing = file.close();
  expect(done).toEqual(['def']);
  await closing;
  expect(done).toEqual(['def', 'abc']);
});

it('goes on after writes that take only a part', async () => {
  disk.most = 7;
  const file = await createSpoolFile(path);
  for (const text of ['abc', '', 'defghijklmnop', 'q', 'rstuvwxyz']) file.append(Buffer.from(text));
  await file.flush();
  expect(readFileSync(path, 'utf8')).toBe('abcdefghijklmnopqrstuvwxyz');
  await file.close();
});

it('makes a writer that is faster than the disk wait', async () => {
  const file = await createSpoolFile(path);
  file.append(Buffer.alloc(5 * 1024 * 1024));
  let ready = false;
  const waiting = file.ready()?.then(() => {
    ready = true;
  });
  await Promise.resolve();
  expect(ready).toBe(false);
  await waiting;
  expect(file.written).toBe(5 * 1024 * 1024);
  await file.close();
});

it('closes after what is being read', async () => {
  const file = await createSpoolFile(path);
  file.append(Buffer.from('abc'));
  await file.flush();
  const into = Buffer.alloc(3);
  const reading = file.read(into, 0);
  await file.close();
  expect(into.toString()).toBe('abc');
  expect(await reading).toBe(3);
});

it('touches no other file that got its number, however late it is read or closed again', async () => {
  const file = await createSpoolFile(path);
  file.append(Buffer.from('abc'));
  await file.flush();
  await file.close();
  const others = await Promise.all([1, 2, 3].map((i) => createSpoolFile(`${path}${i}`)));
  for (const other of others) {
    other.append(Buffer.from('xyz'));
    await other.flush();
  }
  await expect(file.read(new Uint8Array(3), 0)).rejects.toThrow('closed');
  await file.close();
  for (const other of others) {
    expect(await other.read(new Uint8Array(3), 0)).toBe(3);
    await other.close();
  }
});

it('is read no more once it is being closed', async () => {
  const file = await createSpoolFile(path);
  file.append(Buffer.alloc(1024 * 1024));
  const closing = file.close();
  await expect(file.read(new Uint8Array(3), 0)).rejects.toThrow('closed');
  await closing;
});

it('says that it could not be written, once to its spool and to everybody who waits', async () => {
  let told = 0;
  const file = await createSpoolFile(path, { failed: () => told++, closed: () => undefined });
  disk.failure = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  file.append(Buffer.from('abc'));
  const flushing = expect(file.flush()).rejects.toThrow('no space left');
  await flushing;
  disk.failure = undefined;
  file.append(Buffer.from('more'));
  await expect(file.ready()).rejects.toThrow('no space left');
  expect(told).toBe(1);
  expect(readFileSync(path)).toHaveLength(0);
  await file.close();
});

it('closes after what is being written, and forgets what waits', async () => {
  let closed = 0;
  const file = await createSpoolFile(path, { failed: () => undefined, closed: () => closed++ });
  file.append(Buffer.alloc(1024 * 1024, 'a'));
  file.append(Buffer.from('b'));
  await file.close();
  expect(closed).toBe(1);
  expect(readFileSync(path)).toHaveLength(1024 * 1024);
  await expect(file.flush()).rejects.toThrow('the spool file is closed');
});

it('is removed where it still is, and stays readable', async () => {
  const file = await createSpoolFile(path);
  file.append(Buffer.from('abc'));
  await file.flush();
  await file.remove();
  await file.remove();
  expect(existsSync(path)).toBe(false);
  expect(await file.read(new Uint8Array(10), 0)).toBe(3);
  await file.close();
});

it('never takes a file that exists', async () => {
  writeFileSync(path, 'somebody else');
  await expect(createSpoolFile(path)).rejects.toMatchObject({ code: 'EEXIST' });
  expect(readFileSync(path, 'utf8')).toBe('somebody else');
});

describe('what is placed ahead of its beginning', () => {
  const bytes = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 251));

  it('can be read, and is not written again when it is appended', async () => {
    const file = await createSpoolFile(path);
    await file.place([bytes.subarray(400, 500), bytes.subarray(500, 700)], 400);
    await file.place([bytes.subarray(900)], 900);
    expect(file.placed.list()).toEqual([
      { from: 400, end: 700 },
      { from: 900, end: 1000 },
    ]);
    expect(file.written).toBe(0);
    const into = Buffer.alloc(300);
    await file.read(into, 400);
    expect(into.equals(bytes.subarray(400, 700))).toBe(true);
    file.append(bytes.subarray(0, 400));
    await file.flush();
    disk.batches = [];
    const done = vi.fn();
    file.append(bytes.subarray(400, 600), done);
    file.append(bytes.subarray(600, 700), done);
    expect([file.written, done.mock.calls.length, disk.batches]).toEqual([700, 2, []]);
    file.append(bytes.subarray(700, 950));
    await file.flush();
    expect(file.placed.list()).toEqual([{ from: 950, end: 1000 }]);
    file.append(bytes.subarray(950));
    await file.flush();
    expect([file.written, file.placed.size]).toEqual([1000, 0]);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    await file.close();
  });

  it('is written again once it is forgotten', async () => {
    const file = await createSpoolFile(path);
    await file.place([bytes.subarray(0, 100)], 100);
    file.forget();
    file.append(bytes.subarray(0, 200));
    await file.flush();
    expect(readFileSync(path).equals(bytes.subarray(0, 200))).toBe(true);
    await file.close();
  });

  it('is written whole where the disk takes some of it at a time', async () => {
    disk.most = 7;
    const file = await createSpoolFile(path);
    await file.place([bytes.subarray(10, 30), bytes.subarray(30, 31)], 10);
    expect(file.placed.list()).toEqual([{ from: 10, end: 31 }]);
    expect(readFileSync(path).subarray(10).equals(bytes.subarray(10, 31))).toBe(true);
    await file.close();
  });

  it('fails with the file, and the file with it', async () => {
    const failed = vi.fn();
    const file = await createSpoolFile(path, { failed });
    disk.failure = new Error('ENOSPC');
    await expect(file.place([bytes], 100)).rejects.toThrow('ENOSPC');
    await expect(file.flush()).rejects.toThrow('ENOSPC');
    await expect(file.place([bytes], 100)).rejects.toThrow('ENOSPC');
    expect(failed).toHaveBeenCalledOnce();
    expect(file.placed.size).toBe(0);
    await file.close();
  });

  it('is waited for when the file is closed', async () => {
    const file = await createSpoolFile(path);
    const placing = file.place([bytes], 100);
    await Promise.all([file.close(), placing.catch(() => undefined)]);
    expect(readFileSync(path).subarray(100).equals(bytes)).toBe(true);
  });

  it('was written to a closed file where the disk took some of it at a time', async () => {
    disk.most = 7;
    const file = await createSpoolFile(path);
    const placing = file.place([bytes], 100).catch(() => undefined);
    await file.close();
    const whenClosed = readFileSync(path).byteLength;
    await placing;
    await new Promise((resolve) => setImmediate(resolve));
    expect(whenClosed).toBe(100 + bytes.byteLength);
    expect(readFileSync(path).subarray(100).equals(bytes)).toBe(true);
  });
});
