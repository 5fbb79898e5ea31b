import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/** A child process that serves until it is ended, always by its own id. */
export interface Daemon {
  readonly pid: number;
  /** All it has written so far, for messages. */
  output(): string;
  /** Resolves with the groups of the first match in what it writes. @throws Error when it ends first, or after 30 s */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  /** Polls until `check` gives true or stops throwing. @throws Error when the daemon ends first, or after 30 s */
  until(check: () => Promise<boolean>): Promise<void>;
  /** SIGTERM, and SIGKILL where it is still there after 10 s. Resolves when it is gone. */
  stop(): Promise<void>;
  /** Sends a signal to it while it runs. */
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL: no farewell. Resolves when it is gone. */
  kill(): Promise<void>;
}

const startWithinMs = 30_000;
const stopWithinMs = 10_000;

// A test run that is cut short must not leave daemons behind.
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a daemon; what it writes is kept, not shown. */
export function startDaemon(program: string, args: readonly string[], env?: Readonly<Record<string, string>>): Daemon {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let written = '';
  let ended: string | undefined;
  const listeners = new Set<() => void>();
  const tell = () => {
    for (const listener of [...listeners]) listener();
  };
  const take = (chunk: Buffer) => {
    written += chunk.toString();
    tell();
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  running.add(child);
  const gone = new Promise<void>((resolve) => {
    const end = (how: string) => {
      ended ??= how;
      running.delete(child);
      tell();
      resolve();
    };
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, signal) => end(`ended with ${code ?? signal}`));
  });
  const failed = (what: string) => new Error(`${program} ${what}\n${written.slice(-4000)}`);

  return {
    pid: child.pid ?? -1,
    output: () => written,
    async says(pattern) {
      const deadline = AbortSignal.timeout(startWithinMs);
      for (;;) {
        const match = pattern.exec(written);
        if (match !== null) return match;
        if (ended !== undefined) throw failed(`${ended} before it said ${pattern}`);
        if (deadline.aborted) throw failed(`did not say ${pattern} in time`);
        await new Promise<void>((resolve) => {
          const wake = () => {
            listeners.delete(wake);
            deadline.removeEventListener('abort', wake);
            resolve();
          };
          listeners.add(wake);
          deadline.addEventListener('abort', wake);
        });
      }
    },
    async until(check) {
      const deadline = performance.now() + startWithinMs;
      while (!(await check().catch(() => false))) {
        if (ended !== undefined) throw failed(`${ended} before it was ready`);
        if (performance.now() > deadline) throw failed('was not ready in time');
        await sleep(50);
      }
    },
    async stop() {
      child.kill('SIGTERM');
      await Promise.race([gone, sleep(stopWithinMs, undefined, { ref: false })]);
      if (ended === undefined) child.kill('SIGKILL');
      await gone;
    },
    signal(signal) {
      if (ended === undefined) child.kill(signal);
    },
    async kill() {
      child.kill('SIGKILL');
      await gone;
    },
  };
}
