import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTempFolder, sweepTempFolder } from './file-temp.ts';

const host = encodeURIComponent(hostname()).replaceAll('.', '%2E');
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

test('sweeps what processes of this host left that are no more', () => {
  const { pid } = spawnSync(process.execPath, ['--version']);
  leave(`${host}.${pid}.random`);
  expect(swept()).toEqual([]);
});

test('sweeps what a process with our id left before us, as in a container that was restarted', () => {
  leave(`${host}.${process.pid}.before`, Date.now() - process.uptime() * 1000 - 5_000);
  const ours = leave(`${host}.${process.pid}.ours`);
  expect(swept()).toEqual([ours]);
});

test('spares what others write who live, or whose host is another', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)']);
  const theirs = leave(`${host}.${child.pid}.random`);
  const elsewhere = leave('another-host.1.random');
  expect(swept()).toEqual([theirs, elsewhere].sort());
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(swept()).toEqual([elsewhere]);
});

test('sweeps what nobody has written to for a day, whoever left it', () => {
  leave('another-host.1.random', Date.now() - 25 * 3_600_000);
  leave('unknown', Date.now() - 25 * 3_600_000);
  expect(swept()).toEqual([]);
});

test('leaves what is no file to whoever made it', () => {
  fs.mkdirSync(join(folder, 'folder'));
  fs.utimesSync(join(folder, 'folder'), 0, 0);
  expect(swept()).toEqual(['folder']);
});

test('names files so that they are spared', async () => {
  const temp = createTempFolder(folder, { durable: false });
  const files = [await temp.write(Buffer.from('x')), await temp.write(Buffer.from('x'))];
  expect(swept().map((name) => join(folder, name))).toEqual(files.sort());
});

test('leaves nothing of a write that fails', async () => {
  const temp = createTempFolder(join(folder, 'missing'), { durable: false });
  await expect(temp.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'ENOENT' });
  expect(fs.readdirSync(folder)).toEqual([]);
});
