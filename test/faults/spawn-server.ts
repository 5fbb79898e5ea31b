import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { UpstreamOptions } from '@proxycache/core';
import type { S3BlobsOptions } from '@proxycache/s3';

const program = fileURLToPath(new URL('./server-process.mjs', import.meta.url));

/** An event of the cache that runs there. */
type Told = { type: string; outcome?: string; repository?: string; digest?: string };

/** A cache in a process of its own. */
export interface SpawnedServer {
  url: string;
  /** Names of the spool files that were there when its `createProxyCache` returned. */
  spooled: string[];
  /** In the order they came; grows. */
  events: Told[];
  /** SIGKILL; resolves when it is gone and all it had said is in {@link events}. */
  kill(): Promise<void>;
}

/** Starts `server-process.mjs` on a folder. Rejects when it ends without a word. */
export async function spawnServer(
  folder: string,
  upstream: string,
  options: Partial<UpstreamOptions> & { s3?: S3BlobsOptions; hurry?: boolean } = {},
): Promise<SpawnedServer> {
  const args = [program, folder, upstream, JSON.stringify(options)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const events: Told[] = [];
  const lines = createInterface({ input: child.stdout });
  const ended = once(lines, 'close');
  const first = new Promise<Pick<SpawnedServer, 'url' | 'spooled'>>((resolve) => {
    let isFirst = true;
    lines.on('line', (text) => {
      if (isFirst) resolve(JSON.parse(text));
      // The last one may have been cut off by the kill.
      else if (text.endsWith('}')) events.push(JSON.parse(text));
      isFirst = false;
    });
  });
  const started = await Promise.race([first, ended.then(() => undefined)]);
  if (!started) throw new Error(`${program} ended before it said where it listens`);
  return {
    ...started,
    events,
    async kill() {
      child.kill('SIGKILL');
      await Promise.all([exited, ended]);
    },
  };
}
