import { createServer } from 'node:net';
import { type Daemon, startDaemon } from '../peers/daemon.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';

/** Debian's redis-server on a port of 127.0.0.1, with a folder of its own. It keeps its port and its data over `start`. */
export interface RedisServer {
  readonly url: string;
  /** Process id while it runs. */
  pid(): number;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes what it had. */
  close(): Promise<void>;
}

const attempts = 5;

/** Starts one, empty, on a port that was free. */
export async function startRedisServer(program: string): Promise<RedisServer> {
  const folder = makeTemporaryFolder('redis');
  const start = async (port: number) => {
    const args = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, '--appendonly', 'yes', '--save', ''];
    const daemon = startDaemon(program, args);
    await daemon.says(/Ready to accept connections/);
    return daemon;
  };
  let port = await freePort();
  let daemon: Daemon | undefined;
  // Somebody else may take the port between our closing it and the server's opening it.
  for (let attempt = 1; daemon === undefined; attempt++) {
    daemon = await start(port).catch((error) => {
      if (attempt === attempts) throw error;
      return undefined;
    });
    if (daemon === undefined) port = await freePort();
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    pid: () => daemon?.pid ?? -1,
    async stop() {
      await daemon?.stop();
      daemon = undefined;
    },
    async start() {
      daemon = await start(port);
    },
    async close() {
      await daemon?.stop();
      removeFolder(folder);
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}
