import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** What the load client for blobs does; load/drain.c says more. */
export interface DrainPlan {
  /** Paths, in groups: a group is asked for when the one before is done. */
  paths: readonly (readonly string[])[];
  connections?: number;
  /** Of each group; the paths are asked for in turn. Default: each path once. */
  requests?: number;
  mode?: 'drain' | 'copy' | 'verify';
  /** Of each connection. Default: no limit. */
  bytesPerSecond?: number;
  /** The least time between two requests of a connection. */
  paceMicroseconds?: number;
  limitMs?: number;
}

/** What it saw. */
export interface Drained {
  wallMs: number;
  bytes: number;
  requests: number;
  failed: number;
  /** From a request's start to the first byte of its body, in the order of arrival. */
  firstByteMs: readonly number[];
}

/** A load client that runs. */
export interface RunningDrain {
  /** @throws Error when a request failed */
  result: Promise<Drained>;
  /** Ends it: what it saw so far becomes the result. */
  end(): void;
}

/** Starts the load client against a server. */
export function startDrain(program: string, url: string, plan: DrainPlan): RunningDrain {
  const { hostname, port } = new URL(url);
  const flags: [string, number | string | undefined][] = [
    ['-c', plan.connections],
    ['-n', plan.requests],
    ['-m', plan.mode],
    ['-r', plan.bytesPerSecond],
    ['-p', plan.paceMicroseconds],
    ['-t', plan.limitMs],
  ];
  const given = flags.flatMap(([flag, value]) => (value === undefined ? [] : [flag, String(value)]));
  const paths = plan.paths.flatMap((group, index) => (index === 0 ? group : [',', ...group]));
  const child = spawn(program, [...given, hostname, port, ...paths], { stdio: ['ignore', 'pipe', 'pipe'] });
  const result = resultOf(child);
  // Whoever started it may look at the result late.
  result.catch(() => undefined);
  return { result, end: () => child.kill('SIGTERM') };
}

/** Runs the load client to its end. @throws Error when a request failed */
export async function drain(program: string, url: string, plan: DrainPlan): Promise<Drained> {
  return await startDrain(program, url, plan).result;
}

async function resultOf(child: ChildProcess): Promise<Drained> {
  let output = '';
  let errors = '';
  child.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    errors += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`the load client ended with ${code}: ${errors.trim()}`);
  return JSON.parse(output);
}
