import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A program to run on a port of this machine. */
export interface ServicePlan {
  name: string;
  program: string;
  /** Its arguments, for a port that is free. */
  args(port: number): readonly string[];
  /** What it writes when it can be used. */
  ready: RegExp;
  /** Gets all that it writes. */
  logFile: string;
}

/** A program that runs. */
export interface Service {
  name: string;
  port: number;
  pid: number;
  /** SIGTERM; SIGKILL where that does not help. Resolves when it is gone. */
  stop(): Promise<void>;
}

const readyWithinMs = 30_000;
const stopWithinMs = 15_000;
const attempts = 3;

/** Starts a program, and waits until it can be used. @throws Error with the last that it wrote */
export async function startService(plan: ServicePlan): Promise<Service> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const child = launch(plan, port);
    try {
      await untilReady(child, plan);
      return { name: plan.name, port, pid: child.pid ?? -1, stop: () => stop(child) };
    } catch (error) {
      await stop(child);
      // Somebody else may have taken the port meanwhile.
      if (attempt === attempts || !/EADDRINUSE|in use/.test(String(error))) throw error;
    }
  }
}

function launch({ program, args, logFile }: ServicePlan, port: number): ChildProcess {
  const log = openSync(logFile, 'w', 0o600);
  // In a group of its own, so that a terminal's Ctrl-C reaches us alone, and all of them end in order.
  const child = spawn(program, args(port), { detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  // That it could not be started is told by its end.
  child.on('error', () => undefined);
  return child;
}

async function untilReady(child: ChildProcess, { name, program, ready, logFile }: ServicePlan): Promise<void> {
  const deadline = performance.now() + readyWithinMs;
  for (;;) {
    const written = readFileSync(logFile, 'utf8');
    if (ready.test(written)) return;
    const hasEnded = child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
    if (hasEnded || performance.now() > deadline) {
      const what =
        child.pid === undefined ? `${program} is not installed` : `it did not get ready:\n${written.slice(-2000)}`;
      throw new Error(`${name}: ${what}`);
    }
    await sleep(50);
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopWithinMs);
  await gone;
  clearTimeout(timer);
}

/** A port that is free now, for programs that must be told one. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
