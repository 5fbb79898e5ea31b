import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Daemon, startDaemon } from './daemon.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';

/** The built standalone server. */
const program = fileURLToPath(new URL('../../examples/standalone/dist/main.js', import.meta.url));

/** What the cache is given as its configuration file. */
export interface CacheConfig {
  upstreams: readonly UpstreamConfig[];
  defaultUpstream?: string;
  callerKey?: string;
  /** Default: plain HTTP. */
  listen?: { tls: { cert: string; key: string } };
  /** Default: whoever reaches it pulls. */
  access?: { basic: { htpasswd: string } };
  /** Default: all of it in its data folder. */
  storage?: { blobs: { s3: Readonly<Record<string, unknown>> } };
}

/** One of its upstreams, with the options of the library that these tests need. */
export interface UpstreamConfig {
  key: string;
  url: string;
  hosts?: readonly string[];
  library?: boolean;
  auth?: { username: string; password: string };
  credentials?: 'caller';
  tokenHosts?: readonly string[];
  deniedMayMeanAbsent?: boolean;
  timeouts?: { idle: string };
  limits?: { maxConnections: number };
}

/** A line of its log about a request that has ended. */
export interface ServedRequest {
  method: string;
  path: string;
  status: number;
  /** Whether it, or its client, broke off. */
  cutOff?: true;
}

/** The standalone server as a process of its own, on 127.0.0.1, with a data folder that outlives restarts. */
export interface CacheProcess {
  /** `127.0.0.1:PORT`, the same after a restart. */
  readonly host: string;
  readonly url: string;
  /** What it has written so far. */
  output(): string;
  /** The requests whose end it has logged so far. */
  served(): readonly ServedRequest[];
  /** SIGTERM, then the same again with the same data. */
  restart(): Promise<void>;
  /** SIGKILL, then the same again with the same data. */
  crash(): Promise<void>;
  /** Ends it and removes its data. */
  close(): Promise<void>;
}

/** Starts it on a free port. */
export async function startCacheProcess(config: CacheConfig): Promise<CacheProcess> {
  const folder = makeTemporaryFolder('cache');
  const file = join(folder, 'proxycache.json');
  const data = join(folder, 'data');
  mkdirSync(data);
  writeFileSync(file, JSON.stringify(config));
  const outputs: string[] = [];
  const start = async (port: string): Promise<[Daemon, string]> => {
    const daemon = startDaemon(process.execPath, [program, '--port', port, '--data', data, '--config', file]);
    const [, url = ''] = await daemon.says(/^proxycache listening on (https?:\/\/127\.0\.0\.1:\d+)$/m);
    return [daemon, url];
  };
  let [daemon, url] = await start('0');
  const { host, port } = new URL(url);
  const output = () => [...outputs, daemon.output()].join('\n');
  const again = async () => {
    outputs.push(daemon.output());
    [daemon] = await start(port);
  };
  return {
    host,
    url,
    output,
    served: () =>
      output()
        .split('\n')
        .filter((line) => line.includes('"msg":"request"'))
        .map((line) => JSON.parse(line)),
    async restart() {
      await daemon.stop();
      await again();
    },
    async crash() {
      await daemon.kill();
      await again();
    },
    async close() {
      await daemon.stop();
      removeFolder(folder);
    },
  };
}
