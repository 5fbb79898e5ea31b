import type { Server, Socket } from 'node:net';

/**
 * Remembers the connections of a server.
 *
 * @returns cuts off those that are open then: also before the TLS handshake is done, when HTTP does not know them yet
 */
export function rememberConnections(server: Server): () => void {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  return () => {
    for (const socket of open) socket.destroy();
  };
}
