import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Owner, ownerName, thisOwner } from '../runtime/process-owner.ts';
import { createTempFolder, sweepTempFolder } from './file-temp.ts';

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'file-temp-'));
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

function leave(name: string, writtenAt: number = Date.now()): string {
  const file = join(folder, name);
  fs.writeFileSync(file, '');
  fs.utimesSync(file, writtenAt / 1000, writtenAt / 1000);
  return name;
}

function swept(): string[] {
  sweepTempFolder(folder);
  return fs.readdirSync(folder).sort();
}

/** The name of a file of some process of this host. */
const fileOf = (owner: Partial<Owner>) => `${ownerName({ ...thisOwner(), startedAt: '0', ...owner })}.random`;

test('sweeps what processes of this host left that are no more', () => {
  const { pid } = spawnSync(process.execPath, ['--version']);
  leave(fileOf({ pid }));
  expect(swept()).toEqual([]);
});

test('sweeps what a killed process left whose zombie is still there', async () => {
  // Whoever started it is another program by now, which never asks how it ended.
  const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60']);
  const [output] = await once(parent.stdout, 'data');
  const pid = Number(String(output));
  await expect.poll(() => fs.readFileSync(`/proc/${pid}/stat`, 'latin1')).toMatch(/\) Z /);
  leave(fileOf({ pid }));
  expect(swept()).toEqual([]);
  parent.kill('SIGKILL');
  await once(parent, 'exit');
});

test('sweeps what a process with our id left before us', () => {
  leave(fileOf({ pid: process.pid, startedAt: `${Number(thisOwner().startedAt) - 1}` }));
  const ours = leave(fileOf({ startedAt: thisOwner().startedAt }));
  expect(swept()).toEqual([ours]);
});

test('spares what others write who live', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)']);
  const theirs = leave(fileOf({ pid: child.pid! }));
  expect(swept()).toEqual([theirs]);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(swept()).toEqual([]);
});

test.each([{ host: 'another-host' }, { namespace: '1' }])(
  'of another host, or of another container with our host name (%j), spares what was written to lately',
  (elsewhere) => {
    const { pid } = spawnSync(process.execPath, ['--version']);
    const lately = leave(fileOf({ ...elsewhere, pid }), Date.now() - 14 * 60_000);
    leave(`${fileOf({ ...elsewhere, pid })}-2`, Date.now() - 16 * 60_000);
    expect(swept()).toEqual([lately]);
  },
);

test('sweeps what nobody has written to for a day, whoever left it', () => {
  leave(fileOf({ startedAt: thisOwner().startedAt }), Date.now() - 25 * 3_600_000);
  leave('unknown', Date.now() - 25 * 3_600_000);
  const lately = leave('unknown-2', Date.now() - 23 * 3_600_000);
  expect(swept()).toEqual([lately]);
});

test('leaves what is no file to whoever made it', () => {
  fs.mkdirSync(join(folder, 'folder'));
  fs.utimesSync(join(folder, 'folder'), 0, 0);
  expect(swept()).toEqual(['folder']);
});

test('names files so that they are spared', async () => {
  const temp = createTempFolder(folder, { durable: false, remake: async () => undefined });
  const files = [await temp.write(Buffer.from('x')), await temp.write(Buffer.from('x'))];
  expect(swept().map((name) => join(folder, name))).toEqual(files.sort());
});

test('leaves nothing of a write that fails', async () => {
  const temp = createTempFolder(join(folder, 'missing'), { durable: false, remake: async () => undefined });
  await expect(temp.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'ENOENT' });
  expect(fs.readdirSync(folder)).toEqual([]);
});
