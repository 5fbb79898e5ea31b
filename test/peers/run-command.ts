import { spawn } from 'node:child_process';

/** How a program ended. */
export interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
  durationMs: number;
}

/** A program to run once. `timeoutMs`: it is killed after that, default 60 s. */
export interface Command {
  program: string;
  args: readonly string[];
  env?: Readonly<Record<string, string>>;
  folder?: string;
  timeoutMs?: number;
}

/** Runs a program to its end, whatever its exit code. @throws Error when it cannot start or is killed */
export async function runCommand(command: Command): Promise<CommandResult> {
  const startedAt = performance.now();
  const child = spawn(command.program, command.args, {
    cwd: command.folder,
    env: { ...process.env, ...command.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that a shell's children end with it.
    detached: true,
  });
  const timeout = setTimeout(() => process.kill(-(child.pid ?? 0), 'SIGKILL'), command.timeoutMs ?? 60_000);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...end) => resolve(end));
  }).finally(() => clearTimeout(timeout));
  const result = {
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
    durationMs: performance.now() - startedAt,
  };
  if (code === null) throw new Error(`${line(command)} ended by ${signal}\n${result.stdout}${result.stderr}`);
  return { code, ...result };
}

/** Runs a program that must succeed. @throws Error with all that it said */
export async function runOk(command: Command): Promise<CommandResult> {
  const result = await runCommand(command);
  if (result.code === 0) return result;
  throw new Error(`${line(command)} ended with ${result.code}\n${result.stdout}${result.stderr}`);
}

/** Runs a shell script that must succeed at each step. @returns what it printed. @throws Error with all that it said */
export async function runShell(script: string, place: Pick<Command, 'env' | 'folder'>): Promise<string> {
  return (await runOk({ program: 'sh', args: ['-euc', script], ...place })).stdout;
}

const line = (command: Command) => [command.program, ...command.args].join(' ');
