import { createClient } from '@keyv/redis';
import { startDaemon } from '../peers/daemon.ts';
import { onFreePort } from '../peers/free-port.ts';
import { type Restartable, restartable } from '../peers/restartable.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';

/** Debian's redis-server on a port of 127.0.0.1, with a folder of its own. It keeps its port and its data over `start`. */
export interface RedisServer extends Restartable {
  readonly url: string;
  readonly port: number;
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
  const server = restartable(first.started, () => start(port));
  return {
    ...server,
    url: `redis://127.0.0.1:${port}`,
    port,
    async close() {
      // What it has is not needed, and a farewell takes a primary up to 10 s.
      await server.kill();
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
