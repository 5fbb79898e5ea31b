import type { Server, Socket } from 'node:net';

/**
 * Closes each connection of a server that comes while so many are open.
 *
 * Not by the server's own `maxConnections`: a worker of a cluster that is at it refuses the connection, and its primary offers it to the
 * next one, for as long as all are full.
 *
 * @returns cuts off those that are open then: also before the TLS handshake is done, when HTTP does not know them yet
 */
export function boundConnections(server: Server, limit: number): () => void {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    if (open.size >= limit) {
      socket.destroy();
      return;
    }
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  return () => {
    for (const socket of open) socket.destroy();
  };
}
