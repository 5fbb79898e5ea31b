import { createClient } from '@keyv/redis';
import { type Daemon, startDaemon } from '../peers/daemon.ts';
import { onFreePort } from '../peers/free-port.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';

/** Debian's redis-server on a port of 127.0.0.1, with a folder of its own. It keeps its port and its data over `start`. */
export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Process id while it runs. */
  pid(): number;
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Stands still by SIGSTOP: its connections stay, and nothing answers. */
  freeze(): void;
  thaw(): void;
  /** Polls until `check` gives true. */
  until(check: () => Promise<boolean>): Promise<void>;
  /** Ends it and removes what it had. */
  close(): Promise<void>;
}

/** Starts one, empty, on a port that was free, with these arguments beside those for that. */
export async function startRedisServer(program: string, more: readonly string[] = []): Promise<RedisServer> {
  const folder = makeTemporaryFolder('redis');
  const own = ['--bind', '127.0.0.1', '--dir', folder, '--appendonly', 'yes', '--save', ''];
  const start = async (port: number) => {
    const daemon = startDaemon(program, [...own, '--port', String(port), ...more]);
    await daemon.says(/Ready to accept connections/);
    return daemon;
  };
  const first = await onFreePort(start);
  const { port } = first;
  let daemon: Daemon | undefined = first.started;
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pid: () => daemon?.pid ?? -1,
    async stop() {
      await daemon?.stop();
      daemon = undefined;
    },
    async kill() {
      await daemon?.kill();
      daemon = undefined;
    },
    async start() {
      daemon = await start(port);
    },
    freeze: () => void daemon?.signal('SIGSTOP'),
    thaw: () => void daemon?.signal('SIGCONT'),
    until: async (check) => await daemon?.until(check),
    async close() {
      // What it has is not needed, and a farewell takes a primary up to 10 s.
      await daemon?.kill();
      removeFolder(folder);
    },
  };
}

/** Sends one command to a server. */
export async function tellRedis(port: number, ...args: string[]): Promise<unknown> {
  const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: false } });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await client.sendCommand(args);
  } finally {
    client.destroy();
  }
}
