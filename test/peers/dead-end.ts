import { startLoopbackServer } from './loopback-server.ts';

/**
 * An HTTP proxy that lets nothing out and remembers who tried. Clients that fall back to the registry a cache stands
 * for run into it, at once and without a packet leaving the machine.
 */
export interface DeadEnd {
  /** For the environment of a client. Go programs ask 127.0.0.1 without a proxy, whatever it says. */
  readonly environment: Readonly<Record<string, string>>;
  /** Who was asked for since the last call, as `host:port`. */
  takeAttempts(): readonly string[];
  close(): Promise<void>;
}

/** Starts one. */
export async function startDeadEnd(): Promise<DeadEnd> {
  const attempts: string[] = [];
  const server = await startLoopbackServer((request, response) => {
    attempts.push(request.url ?? '');
    response.writeHead(403).end();
  });
  server.server.on('connect', (request, socket) => {
    attempts.push(request.url ?? '');
    socket.on('error', () => {});
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  const { url } = server;
  return {
    environment: { HTTPS_PROXY: url, https_proxy: url, HTTP_PROXY: url, http_proxy: url, NO_PROXY: '', no_proxy: '' },
    takeAttempts: () => attempts.splice(0),
    close: server.stop,
  };
}
