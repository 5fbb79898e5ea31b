import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished } from 'vitest';

const program = fileURLToPath(new URL('./server-process.mjs', import.meta.url));

/** An event of the cache that runs there. */
type Told = { type: string; outcome?: string };

/** A cache in a process of its own. */
export interface ServerProcess {
  url: string;
  /** Names of the spool files that were there when its `createProxyCache` returned. */
  spooled: string[];
  events: Told[];
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
}

/** Starts one on a folder; it ends with the test. */
export async function startServerProcess(folder: string, upstream: string): Promise<ServerProcess> {
  const child = spawn(process.execPath, [program, folder, upstream], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines: unknown[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line)));
  async function kill(): Promise<void> {
    child.kill('SIGKILL');
    await exited;
  }
  onTestFinished(kill);
  await expect.poll(() => lines.length, { timeout: 10_000 }).toBeGreaterThan(0);
  const { url, spooled } = lines.shift() as Pick<ServerProcess, 'url' | 'spooled'>;
  return { url, spooled, events: lines as Told[], kill };
}
