import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The exit code, or the signal that ended it. */
type Outcome = number | NodeJS.Signals;

/** An example that runs as a process of its own. */
export interface RunningExample {
  /** Where it says that it listens. */
  url: string;
  /** All that it has written to its output so far. */
  said(): string;
  /** Sends it a signal and waits for its end. */
  end(signal: NodeJS.Signals): Promise<Outcome>;
  /** Ends it by force and removes its data. */
  clear(): Promise<void>;
}

/** Starts a built example on a free port, with its data in a folder of its own and further arguments. */
export async function startExample(name: string, more: readonly string[] = []): Promise<RunningExample> {
  const main = fileURLToPath(new URL(`../../examples/${name}/dist/main.js`, import.meta.url));
  const folder = await mkdtemp(join(tmpdir(), 'proxycache-example-'));
  const args = ['--enable-source-maps', main, '--port', '0', '--data', join(folder, 'data'), ...more];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let written = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    written += chunk.toString();
  });
  const ended = once(child, 'exit').then(([code, signal]) => (code ?? signal) as Outcome);
  const clear = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const url = await Promise.race([listeningUrl(child), failed(ended, name)]);
    const end = (signal: NodeJS.Signals) => {
      child.kill(signal);
      return ended;
    };
    return { url, said: () => written, end, clear };
  } catch (error) {
    await clear();
    throw error;
  }
}

async function listeningUrl(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('the example has no output to read');
  for await (const line of createInterface(child.stdout)) {
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
    if (url !== undefined) return url;
  }
  return new Promise(() => undefined);
}

async function failed(ended: Promise<Outcome>, name: string): Promise<never> {
  throw new Error(`examples/${name} ended with ${await ended} before it listened; is it built (npm run build)?`);
}
