import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fencesOf, readPage, root } from './markdown.ts';

/** The first program of the README, as it stands there. */
export function readmeProgram(): string {
  const program = fencesOf(readPage('README.md').text).find(({ language }) => language === 'js');
  if (!program) throw new Error('README.md has no js program');
  return program.code;
}

/** What the program is run with in place of what it says: everything else is the README's own text. */
export interface Substitutes {
  upstreamUrl: string;
  cacheFolder: string;
}

/** A program of the README that runs. */
export interface RunningProgram {
  url: string;
  stop(): Promise<void>;
}

/** @throws where a text is not there exactly once, for then something else would be run than is meant */
function substitute(program: string, { upstreamUrl, cacheFolder }: Substitutes): string {
  const changes = [
    ['dockerHub()', `dockerHub({ url: ${JSON.stringify(upstreamUrl)} })`],
    ["'./cache'", JSON.stringify(cacheFolder)],
    ['5000', '0'],
  ] as const;
  return changes.reduce((text, [from, to]) => {
    if (text.split(from).length !== 2) throw new Error(`the README's program does not say ${from} once:\n${text}`);
    return text.replace(from, to);
  }, program);
}

// Tells the port that the system chose; the program itself says nothing.
const reporter = `import { Server } from 'node:net';
const { listen } = Server.prototype;
Server.prototype.listen = function (...args) {
  this.once('listening', () => process.send(this.address()));
  return listen.apply(this, args);
};`;

/** Runs the README's program as a process of its own. It must listen on loopback. */
export async function startReadmeProgram(substitutes: Substitutes): Promise<RunningProgram> {
  // The docs folder is a workspace member that depends on what the pages import.
  const modules = join(root, 'docs/node_modules');
  mkdirSync(modules, { recursive: true });
  const folder = mkdtempSync(join(modules, '.readme-'));
  const file = join(folder, 'program.mjs');
  writeFileSync(file, substitute(readmeProgram(), substitutes));
  const child = fork(file, {
    execArgv: ['--import', `data:text/javascript,${encodeURIComponent(reporter)}`],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill();
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const { address, port } = await listening(child);
    return { url: `http://${address}:${port}`, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function listening(child: ChildProcess): Promise<{ address: string; port: number }> {
  let said = '';
  child.stdout?.on('data', (chunk) => {
    said += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    said += chunk;
  });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the README's program ended with ${code}:\n${said}`);
  });
  const [message] = await Promise.race([once(child, 'message'), ended]);
  // From now on its end is nobody's failure.
  ended.catch(() => undefined);
  return message as { address: string; port: number };
}
