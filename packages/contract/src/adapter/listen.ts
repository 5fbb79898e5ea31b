import type { Server } from 'node:http';
import type { AdapterHost } from './adapter-case.ts';

/** Lets a server listen on a free port of 127.0.0.1: what a `MountAdapter` returns. */
export async function listenOnLoopback(server: Server, prefix: string): Promise<AdapterHost> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    url: `http://127.0.0.1:${address.port}${prefix}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
