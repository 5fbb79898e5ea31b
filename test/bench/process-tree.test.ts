import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { processTree } from './process-tree.ts';

const MiB = 1024 * 1024;

/** Works for a while and takes memory, in a child of its own, and says so when it has. */
const program = `
const { spawn } = require('node:child_process');
const worker = "for (let used = 0; used < 4e5; used = process.cpuUsage().user + process.cpuUsage().system);"
  + "globalThis.kept = Buffer.alloc(100 * ${MiB}, 1); console.log('done'); setInterval(() => {}, 1e6);"
  + "process.stdin.on('end', () => process.exit()).resume();";
spawn(process.execPath, ['-e', worker], { stdio: 'inherit' });
`;

it('a tree of processes counts the CPU and the memory of its children', async () => {
  const child = spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
  const tree = processTree(child.pid!);
  await once(child.stdout, 'data');
  expect(tree.cpuSeconds()).toBeGreaterThanOrEqual(0.3);
  expect(tree.peakBytes()).toBeGreaterThan(100 * MiB);
  child.stdin.end();
  await once(child, 'exit');
  expect(tree.cpuSeconds()).toBe(0);
});
