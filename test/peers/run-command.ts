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
  input?: Uint8Array;
  timeoutMs?: number;
}

/** Runs a program to its end, whatever its exit code. @throws Error when it cannot start or is killed */
export async function runCommand(command: Command): Promise<CommandResult> {
  const startedAt = performance.now();
  const child = spawn(command.program, command.args, {
    env: { ...process.env, ...command.env },
    timeout: command.timeoutMs ?? 60_000,
    killSignal: 'SIGKILL',
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A program may end without reading its input.
  child.stdin.on('error', () => {});
  child.stdin.end(command.input);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...end) => resolve(end));
  });
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

const line = (command: Command) => [command.program, ...command.args].join(' ');
