import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Ends the connection with a TCP reset, from which clients recover by themselves more often than from a clean close.
 * TLS and Unix sockets know no reset: there the missing bytes tell.
 */
export function reset(req: IncomingMessage, res: ServerResponse): void {
  const socket = res.socket ?? req.socket;
  try {
    socket.resetAndDestroy();
  } catch {
    socket.destroy();
  }
}
