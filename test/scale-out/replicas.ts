import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ProxyCacheEvent } from '@proxycache/core';
import type { S3BlobsOptions } from '@proxycache/s3';

const program = fileURLToPath(new URL('./replica.mjs', import.meta.url));

/** An event, and when it came here. */
type Told = ProxyCacheEvent & { at: number };

/** One of several caches that share a storage, in a process of its own. */
export interface Replica {
  url: string;
  /** In the order they came; grows. */
  events: Told[];
  /** Whom its transfers got their bytes from, and from which byte on. */
  roles(): [role: string, from: number][];
  /** How its transfers ended. */
  outcomes(): string[];
  isAlive(): boolean;
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
}

// A test run that is cut short must not leave processes behind, also not those that stand still.
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** What a replica works with. */
export interface ReplicaPlan {
  /** URLs. */
  upstream: string;
  redis: string;
  /** Where its blobs are, and its spool if it has none of its own. */
  folder?: string;
  /** Where its blobs are in place of that. */
  s3?: S3BlobsOptions;
  /** As on a host of its own, which reads from the others over HTTP. */
  alone?: { spoolDirectory: string; secret: string };
}

/** Starts one. Rejects when it ends without a word. */
export async function startReplica({ alone, ...plan }: ReplicaPlan): Promise<Replica> {
  const args = [program, JSON.stringify({ ...plan, ...alone })];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  running.add(child);
  const exited = once(child, 'exit').then(() => running.delete(child));
  const events: Told[] = [];
  const lines = createInterface({ input: child.stdout });
  const ended = once(lines, 'close');
  const first = new Promise<{ url: string }>((resolve) => {
    let isFirst = true;
    lines.on('line', (text) => {
      if (isFirst) resolve(JSON.parse(text));
      // The last one may have been cut off by the kill.
      else if (text.endsWith('}')) events.push({ ...JSON.parse(text), at: performance.now() });
      isFirst = false;
    });
  });
  const started = await Promise.race([first, ended.then(() => undefined)]);
  if (!started) throw new Error(`${program} ended before it said where it listens`);
  return {
    url: started.url,
    events,
    roles: () => events.flatMap((event) => (event.type === 'ingest-shared' ? [[event.role, event.from]] : [])),
    outcomes: () => events.flatMap((event) => (event.type === 'ingest-ended' ? [event.outcome] : [])),
    isAlive: () => running.has(child),
    signal: (name) => void child.kill(name),
    async kill() {
      child.kill('SIGKILL');
      await Promise.all([exited, ended]);
    },
  };
}

/** Starts as many replicas as are missing; what the others told is forgotten. */
export async function fillUp(replicas: Replica[], count: number, start: () => Promise<Replica>): Promise<void> {
  const alive = replicas.splice(0).filter((replica) => replica.isAlive());
  for (const replica of alive) replica.events.length = 0;
  replicas.push(...alive, ...(await Promise.all(Array.from({ length: count - alive.length }, start))));
}

/** How one client's pull went. */
export interface Pulled {
  isRight: boolean;
  /** How many caches it had to ask. */
  tries: number;
  /** The longest time it waited for another byte, in ms. */
  longestWaitMs: number;
}

/**
 * Pulls as a client does that knows several caches: where one breaks off, or says that it cannot, the next one is asked for all
 * of it. What comes is compared byte by byte.
 */
export async function pullBlob(replicas: readonly Replica[], path: string, bytes: Uint8Array): Promise<Pulled> {
  let longestWaitMs = 0;
  for (let tries = 1; ; tries++) {
    const alive = replicas.filter((replica) => replica.isAlive());
    const replica = alive[(tries - 1) % alive.length]!;
    try {
      const came = await read(`${replica.url}${path}`, bytes);
      return { ...came, tries, longestWaitMs: Math.max(longestWaitMs, came.longestWaitMs) };
    } catch (error) {
      if (tries === 5) throw error;
      longestWaitMs = Math.max(longestWaitMs, (error as { waitedMs?: number }).waitedMs ?? 0);
    }
  }
}

async function read(url: string, bytes: Uint8Array): Promise<Pick<Pulled, 'isRight' | 'longestWaitMs'>> {
  const asked = request(url, { agent: false }).end();
  const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
  if (response.statusCode !== 200) {
    response.resume();
    throw new Error(`${url} answered ${response.statusCode}`);
  }
  let position = 0;
  let isRight = true;
  let cameAt = performance.now();
  let longestWaitMs = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    const now = performance.now();
    longestWaitMs = Math.max(longestWaitMs, now - cameAt);
    cameAt = now;
    isRight &&= Buffer.compare(chunk, bytes.subarray(position, position + chunk.byteLength)) === 0;
    position += chunk.byteLength;
  }
  return { isRight: isRight && position === bytes.byteLength, longestWaitMs };
}
