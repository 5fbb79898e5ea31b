import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** An HTTP server on a free port of 127.0.0.1 that can go away and come back under the same port. */
export interface LoopbackServer {
  readonly port: number;
  readonly url: string;
  /** For other events than requests, such as `connect`. */
  readonly server: Server;
  /** Refuses connections and cuts those that are open. */
  stop(): Promise<void>;
  /** Listens again. */
  start(): Promise<void>;
}

/** Starts one. */
export async function startLoopbackServer(onRequest: RequestListener): Promise<LoopbackServer> {
  const server = createServer(onRequest);
  await listen(server, 0);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    server,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
    async start() {
      // While we were away, a connection of somebody else may have been given the port for a moment.
      for (let attempt = 1; ; attempt++) {
        try {
          return await listen(server, port);
        } catch (error) {
          if (attempt === 50) throw error;
          await sleep(100);
        }
      }
    },
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
}
