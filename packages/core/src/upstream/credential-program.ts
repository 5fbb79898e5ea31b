import { spawn } from 'node:child_process';
import type { Clock } from '../runtime/clock.ts';

/** A program to run, without a shell. */
export interface Program {
  file: string;
  args: readonly string[];
  /** Written to its standard input. */
  input: string;
}

const longestOutput = 64 * 1024;
const longestRun = 30_000;

/**
 * Runs a program and gives what it printed. Its errors name neither its arguments nor what it wrote, because secrets
 * may be in both.
 */
export function runProgram(
  { file, args, input }: Program,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<string> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'ignore'], windowsHide: true });
    // At once, and each: one that nobody listens to ends the process.
    child.on('error', (error) => {
      const code = 'code' in error ? String(error.code) : 'unknown error';
      settle(() => reject(new Error(`${file} could not be started (${code})`)));
    });
    const output: Buffer[] = [];
    let length = 0;

    const settle = (act: () => void) => {
      cancelTimer();
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const stop = (error: unknown) => {
      child.kill('SIGKILL');
      settle(() => reject(error));
    };
    const onAbort = () => stop(signal.reason);
    const cancelTimer = clock.after(longestRun, () => stop(new Error(`${file} took more than 30 s`)));

    signal.addEventListener('abort', onAbort, { once: true });
    // Where the process has no file descriptor left there are no pipes, whatever the types say: its error is on the way.
    const { stdin, stdout }: Partial<Pick<typeof child, 'stdin' | 'stdout'>> = child;
    stdout?.on('data', (chunk: Buffer) => {
      length += chunk.byteLength;
      if (length > longestOutput) return stop(new Error(`${file} printed more than 64 KiB`));
      output.push(chunk);
    });
    // A program that reads no input closes it; that is no failure.
    stdin?.on('error', () => undefined);
    stdin?.end(input);
    child.once('close', (status) => {
      settle(() => {
        if (status === 0) resolve(Buffer.concat(output).toString('utf8'));
        else reject(new Error(`${file} ended with status ${status}`));
      });
    });
  });
}
