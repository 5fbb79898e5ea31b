import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ManualClock, manualClock, openFiles } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ownerName, thisOwner } from '../runtime/process-owner.ts';
import { openSpool } from './spool.ts';

const disk = vi.hoisted(() => ({ free: undefined as number | undefined, writeFails: false, gone: false, looks: 0 }));
/** What a disk that hangs was called for, and how it goes on. */
const hung = vi.hoisted(() => ({
  calls: new Map<string, () => void>(),
  operation: undefined as string | undefined,
  opened: 0,
}));
function orHang(operation: string, work: () => void): void {
  if (hung.operation === operation) hung.calls.set(operation, work);
  else work();
}
vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>();
  const statfs = async (path: string) => {
    disk.looks++;
    await new Promise<void>((resolve) => orHang('statfs', resolve));
    if (disk.gone) throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    return disk.free === undefined ? real.statfs(path) : { bsize: 1, blocks: 10_000, bavail: disk.free };
  };
  return { ...real, statfs };
});
vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs')>();
  return {
    ...real,
    writev(...args: Parameters<typeof real.writev>) {
      const done = args[3] as unknown as (error: Error | null, count: number) => void;
      if (disk.writeFails) return void setImmediate(() => done(new Error('disk quota exceeded'), 0));
      orHang('writev', () => real.writev(...args));
    },
    open(path: string, flags: string, mode: number, done: (error: Error | null, fd: number) => void) {
      orHang('open', () =>
        real.open(path, flags, mode, (error, fd) => {
          hung.opened++;
          done(error, fd);
        }),
      );
    },
    unlink: (...args: Parameters<typeof real.unlink>) => orHang('unlink', () => real.unlink(...args)),
  };
});

let directory: string;
let clock: ManualClock;
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'spool-')), 'spool');
  clock = manualClock({ now: Date.now() });
});
afterEach(() => {
  Object.assign(disk, { free: undefined, writeFails: false, gone: false, looks: 0 });
  expect(openFiles(directory)).toEqual([]);
  rmSync(join(directory, '..'), { recursive: true, force: true });
});

const open = (minFree?: number) => openSpool({ directory, minFree, clock, diskClock: clock });

it('told of a file that was gone already as one that could not be removed', async () => {
  const spool = open();
  const file = await spool.create();
  await file.remove();
  await file.remove();
  await file.close();
  spool.close();
});

it('makes its folder, and leaves nothing behind', async () => {
  const spool = open();
  const file = await spool.create();
  expect(existsSync(file.path)).toBe(true);
  await file.close();
  spool.close();
  expect(readdirSync(directory)).toEqual([]);
  expect(clock.pending()).toBe(0);
});

it('makes folders and files that only its user can read', async () => {
  const spool = open();
  const file = await spool.create();
  const cache = join(file.path, '..');
  const modes = [file.path, cache, join(cache, '..'), directory].map((path) => statSync(path).mode & 0o777);
  await file.close();
  spool.close();
  expect(modes).toEqual([0o600, 0o700, 0o700, 0o700]);
});

it('removes what dead owners left before it returns, and nothing else', () => {
  const { startedAt, ...self } = thisOwner();
  const dead = ownerName({ ...self, startedAt: `${Number(startedAt) - 1}` });
  const foreign = ownerName({ ...self, host: 'elsewhere', startedAt });
  for (const name of [dead, foreign, 'lost+found', ownerName(thisOwner())]) {
    mkdirSync(join(directory, name, 'cache-a'), { recursive: true });
    writeFileSync(join(directory, name, 'cache-a', '0'), 'left');
  }
  const spool = open();
  expect(readdirSync(directory).sort()).toEqual([foreign, 'lost+found', ownerName(thisOwner())].sort());
  spool.close();
});

it('starts where another process sweeps at the same time', () => {
  const { startedAt, ...self } = thisOwner();
  const gone = { ...self, host: 'elsewhere', startedAt };
  mkdirSync(directory);
  // A name that is listed, and cannot be looked at any more.
  symlinkSync(join(directory, '..', 'nowhere'), join(directory, ownerName(gone)));
  open().close();
  expect(readdirSync(directory)).toEqual([ownerName(gone)]);
});

it('says which folder it cannot use', () => {
  writeFileSync(directory, 'a file');
  expect(() => open()).toThrowError(
    expect.objectContaining({ code: 'storage-failed', message: expect.stringContaining(directory) }),
  );
  rmSync(directory);
});

it('shares a folder with another cache of the same process: closing one leaves the files of the other', async () => {
  const [one, other] = [open(), open()];
  const files = [await one.create(), await other.create()];
  await files[0]!.close();
  one.close();
  expect(existsSync(files[1]!.path)).toBe(true);
  const more = await other.create();
  await Promise.all([files[1]!.close(), more.close()]);
  other.close();
  expect(readdirSync(directory)).toEqual([]);
});

it('was made for ever where the one above it takes no folders any more', async () => {
  const spool = open();
  rmSync(directory, { recursive: true });
  symlinkSync('/proc', directory);
  await expect(spool.create()).rejects.toThrow(`${directory} takes no folders (ENOENT)`);
  spool.close();
});

it('makes its folder anew when a cleaner of temporary folders took it', async () => {
  const spool = open();
  rmSync(join(directory, ownerName(thisOwner())), { recursive: true });
  const file = await spool.create();
  expect(existsSync(file.path)).toBe(true);
  await file.close();
  spool.close();
});

it('says that it is not writable', async () => {
  const spool = open();
  rmSync(directory, { recursive: true });
  writeFileSync(directory, 'in the way');
  await expect(spool.create()).rejects.toMatchObject({ code: 'storage-failed' });
  rmSync(directory);
  spool.close();
});

it('keeps minFree bytes of the disk free, and counts what other files may still grow by', async () => {
  const spool = open(1_000);
  disk.free = 3_000;
  const [one, two] = [await spool.create(), await spool.create()];
  await spool.claim(one, 1_500);
  await expect(spool.claim(two, 501)).rejects.toMatchObject({ code: 'storage-full' });
  await spool.claim(two, 500);
  // What is written is no longer free: only the rest still counts.
  one.append(Buffer.alloc(1_000));
  await one.flush();
  disk.free = 2_000;
  await spool.claim(two, 500);
  await one.close();
  await spool.claim(two, 1_000);
  await two.close();
  spool.close();
});

it('looks at the disk once for claims that come together, and anew where that told of too little', async () => {
  const spool = open(1_000);
  disk.free = 3_000;
  const [one, two] = [await spool.create(), await spool.create()];
  await spool.claim(one, 500);
  await spool.claim(one, 900);
  await spool.claim(two, 600);
  expect(disk.looks).toBe(1);
  disk.free = 4_000;
  await spool.claim(two, 1_200);
  expect(disk.looks).toBe(2);
  await clock.advance(100);
  await spool.claim(two, 1_200);
  expect(disk.looks).toBe(3);
  await Promise.all([one.close(), two.close()]);
  spool.close();
});

it('counts what was written since it looked at the disk, also of files that are stored by now', async () => {
  const spool = open(1_000);
  disk.free = 10_000;
  const [one, two] = [await spool.create(), await spool.create()];
  await spool.claim(one, 8_000);
  one.append(Buffer.alloc(8_000));
  await one.flush();
  disk.free = 2_000;
  expect(spool.seemsReady(1_001)).toBe(false);
  await one.close();
  // At once: the first look told of enough for it.
  await expect(spool.claim(two, 1_001)).rejects.toMatchObject({ code: 'storage-full' });
  await spool.claim(two, 1_000);
  await two.close();
  spool.close();
});

describe('seems ready', () => {
  it('from the start on, for as much as the disk would have left', async () => {
    const spool = open(0);
    expect([spool.seemsReady(0), spool.seemsReady(1e18)]).toEqual([true, false]);
    const file = await spool.create();
    disk.free = 1_000;
    await spool.claim(file, 600);
    expect([spool.seemsReady(400), spool.seemsReady(401)]).toEqual([true, false]);
    await file.close();
    expect(spool.seemsReady(1_000)).toBe(true);
    spool.close();
  });

  it('not where too little is free', () => {
    const spool = open(Number.MAX_SAFE_INTEGER);
    expect(spool.seemsReady(0)).toBe(false);
    spool.close();
  });

  it('not after a file could not be made or written to, or the disk not looked at, until it could', async () => {
    const spool = open(0);
    const file = await spool.create();
    disk.gone = true;
    await expect(spool.claim(file, 1)).rejects.toThrow('EIO');
    expect(spool.seemsReady(0)).toBe(false);
    disk.gone = false;
    await spool.claim(file, 1);
    expect(spool.seemsReady(0)).toBe(true);
    disk.writeFails = true;
    file.append(Buffer.from('a'));
    await expect(file.flush()).rejects.toThrow('quota');
    expect(spool.seemsReady(0)).toBe(false);
    await clock.advance(30_000);
    expect(spool.seemsReady(0)).toBe(true);
    await file.close();
    rmSync(directory, { recursive: true });
    writeFileSync(directory, 'in the way');
    await expect(spool.create()).rejects.toMatchObject({ code: 'storage-failed' });
    expect(spool.seemsReady(0)).toBe(false);
    rmSync(directory);
    spool.close();
  });

  it('by a look of the last minute, though nothing was pulled', async () => {
    const spool = open(1_000);
    disk.free = 500;
    await clock.advance(60_000);
    await vi.waitFor(() => expect(spool.seemsReady(0)).toBe(false));
    spool.close();
  });
});

it('gives what a file claimed to others once it grows no more, though somebody still reads it', async () => {
  const spool = open(1_000);
  disk.free = 2_000;
  const [read, next] = [await spool.create(), await spool.create()];
  await spool.claim(read, 600);
  spool.release(read);
  await spool.claim(next, 600);
  await Promise.all([read.close(), next.close()]);
  spool.close();
});

it('keeps 5 % of the disk free by default', async () => {
  const spool = open();
  const file = await spool.create();
  disk.free = 1_000;
  await spool.claim(file, 500);
  await expect(spool.claim(file, 501)).rejects.toMatchObject({ code: 'storage-full' });
  await file.close();
  spool.close();
});

it('says that it cannot look at the disk', async () => {
  const spool = open();
  const file = await spool.create();
  disk.gone = true;
  await expect(spool.claim(file, 1)).rejects.toMatchObject({ code: 'storage-failed' });
  await file.close();
  spool.close();
});

it('gives no file for a while after one could not be written to', async () => {
  const spool = open();
  const file = await spool.create();
  disk.writeFails = true;
  file.append(Buffer.from('a'));
  await expect(file.flush()).rejects.toThrow('disk quota exceeded');
  await file.close();
  await expect(spool.create()).rejects.toMatchObject({
    code: 'storage-failed',
    message: expect.stringMatching(/lately/),
  });
  await clock.advance(30_000);
  await (await spool.create()).close();
  spool.close();
});

describe('a disk that hangs', () => {
  afterEach(() => {
    hung.operation = undefined;
    hung.calls.clear();
  });

  /** Lets the disk do what it was called for, late. */
  function wakeUp(): void {
    hung.operation = undefined;
    for (const work of hung.calls.values()) work();
  }

  it('was looked at once more each minute that nobody pulled, which took one of the process’s few threads each time', async () => {
    const spool = open();
    hung.operation = 'statfs';
    for (let minute = 0; minute < 5; minute++) await clock.advance(60_000);
    expect(disk.looks).toBe(1);
    wakeUp();
    await vi.waitFor(async () => {
      await clock.advance(60_000);
      expect(disk.looks).toBeGreaterThan(1);
    });
    spool.close();
  });

  it.each(['given up in time', 'left by its caller'])('in making a file is %s, and leaves none', async (how) => {
    const spool = open();
    hung.operation = 'open';
    const leaving = new AbortController();
    const created = spool.create(leaving.signal);
    const refused = expect(created).rejects.toMatchObject({
      code: how === 'given up in time' ? 'storage-failed' : 'left',
    });
    await vi.waitFor(() => expect(hung.calls.size).toBe(1));
    if (how === 'given up in time') await clock.advance(3_000);
    else leaving.abort({ code: 'left' });
    await refused;
    const before = hung.opened;
    wakeUp();
    await vi.waitFor(() => expect(hung.opened).toBe(before + 1));
    await vi.waitFor(() => expect(readdirSync(directory, { recursive: true })).toHaveLength(2));
    await vi.waitFor(() => expect(openFiles(directory)).toEqual([]));
    spool.close();
  });

  it.each(['given up in time', 'left by its caller'])('in telling its room is %s', async (how) => {
    const spool = open();
    const file = await spool.create();
    hung.operation = 'statfs';
    const leaving = new AbortController();
    const claimed = spool.claim(file, 1, leaving.signal);
    const refused = expect(claimed).rejects.toMatchObject({
      code: how === 'given up in time' ? 'storage-failed' : 'left',
    });
    await vi.waitFor(() => expect(hung.calls.size).toBe(1));
    if (how === 'given up in time') await clock.advance(3_000);
    else leaving.abort({ code: 'left' });
    await refused;
    wakeUp();
    await file.close();
    spool.close();
  });

  it('in writing fails the file in time, and closing it is not waited for', async () => {
    const spool = open();
    const file = await spool.create();
    hung.operation = 'writev';
    file.append(Buffer.alloc(5 * 1024 * 1024));
    const refused = [file.ready(), file.flush()].map((wait) => expect(wait).rejects.toThrow('within 10000 ms'));
    await clock.advance(10_000);
    await Promise.all(refused);
    await expect(spool.create()).rejects.toMatchObject({ message: expect.stringMatching(/lately/) });
    const closing = expect(file.close()).rejects.toMatchObject({ code: 'storage-failed' });
    await clock.advance(3_000);
    await closing;
    // What still writes keeps the file open, so that nobody else gets its number.
    expect(openFiles(directory)).toHaveLength(1);
    wakeUp();
    await vi.waitFor(() => expect(openFiles(directory)).toEqual([]));
    spool.close();
  });

  it('in removing a file is not waited for', async () => {
    const spool = open();
    const file = await spool.create();
    hung.operation = 'unlink';
    const refused = expect(file.remove()).rejects.toMatchObject({ code: 'storage-failed' });
    await clock.advance(3_000);
    await refused;
    wakeUp();
    await file.close();
    spool.close();
  });
});

it('touches its folder every minute, so that other hosts see it alive', async () => {
  const spool = open();
  const folder = join(directory, ownerName(thisOwner()));
  for (let minutes = 0; minutes < 10; minutes++) {
    await clock.advance(60_000);
    await vi.waitFor(() => expect(Math.round(statSync(folder).mtimeMs)).toBe(clock.now()));
  }
  rmSync(folder, { recursive: true });
  await clock.advance(60_000);
  spool.close();
});
