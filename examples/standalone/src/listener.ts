import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { ProxyCacheError } from '@proxycache/core';
import type { Logger } from 'pino';
import { readCertificate, watchCertificate } from './certificate.ts';
import type { Config } from './config-schema.ts';
import { boundConnections } from './connections.ts';

/** A Node server that does not listen yet. */
export interface UnboundServer {
  server: http.Server | https.Server;
  /** Frees what it holds beside its sockets. */
  release(): void;
  /** Cuts off every connection that it has. */
  cutOff(): void;
}

const defaults: http.ServerOptions = {
  // Requests have no body worth waiting for. There is no total timeout on answers: they may take as long as they move.
  headersTimeout: 20_000,
  requestTimeout: 60_000,
  // How often the two are looked after.
  connectionsCheckingInterval: 5_000,
  // Longer than load balancers keep theirs (commonly 60 s), so that they never write into one that is closing.
  keepAliveTimeout: 75_000,
  // Finds clients that vanished without a word.
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
};

/** Cuts a client off that has read and written nothing for so long, with an answer waiting or not. */
const silentForMs = 600_000;
const lookForCertificateEveryMs = 1000;

/**
 * Makes the HTTP server, or with `listen.tls` the HTTPS server, which takes over a certificate that changes.
 *
 * @param parts.limits Node's own, in place of ours
 * @throws ProxyCacheError `invalid-options` for a certificate that cannot be used
 */
export function createServer(
  config: Config,
  { folder, logger, limits }: { folder: string; logger: Logger; limits?: https.ServerOptions },
): UnboundServer {
  const { tls } = config.listen;
  const options = { ...defaults, ...limits };
  const { server, release } = tls
    ? createTlsServer({ cert: resolve(folder, tls.cert), key: resolve(folder, tls.key) }, { options, logger })
    : { server: http.createServer(options), release: () => undefined };
  server.timeout = silentForMs;
  return { server, release, cutOff: boundConnections(server, config.limits.maxConnections) };
}

function createTlsServer(
  files: { cert: string; key: string },
  { options, logger }: { options: https.ServerOptions; logger: Logger },
): Omit<UnboundServer, 'cutOff'> {
  const inUse = readCertificate(files);
  const server = https.createServer({ ...options, ...inUse });
  // Before the handshake is done nothing can be said: an answer would wait for its end.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  const release = watchCertificate(files, {
    inUse,
    everyMs: lookForCertificateEveryMs,
    onChange(certificate) {
      server.setSecureContext(certificate);
      logger.info({ cert: files.cert }, 'certificate changed: new connections get the new one');
    },
    onProblem: (err) => logger.warn({ err }, 'certificate changed, but cannot be used: the one before stays'),
  });
  return { server, release };
}

/**
 * @param of the address' place in the configuration
 * @throws ProxyCacheError `invalid-options` when the address cannot be had, saying why
 */
export async function listen(
  server: http.Server | https.Server,
  at: Pick<Config['listen'], 'host' | 'port'>,
  of: 'listen' | 'metrics' | 'admin',
): Promise<void> {
  const { host, port } = at;
  await new Promise<void>((done, failed) => {
    server.once('error', failed);
    server.listen({ host, port }, () => {
      server.off('error', failed);
      done();
    });
  }).catch((cause: NodeJS.ErrnoException) => {
    throw new ProxyCacheError('invalid-options', explain(cause, { host, port, of }), { cause });
  });
}

function explain(
  error: NodeJS.ErrnoException,
  { host, port, of }: Pick<Config['listen'], 'host' | 'port'> & { of: string },
): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `${of}.port: ${host} port ${port} is in use; stop what listens there or choose another port, 0 for any`;
    case 'EACCES':
      return `${of}.port: this user may not listen at port ${port}; choose one from 1024 on`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${of}.host: expected an address of this machine, received ${JSON.stringify(host)} (${error.code})`;
    default:
      return `${of}: cannot listen at ${host} port ${port}: ${error.message}`;
  }
}

/** Where a listening server is reached. */
export function urlOf(server: http.Server | https.Server): string {
  const { address, port, family } = server.address() as AddressInfo;
  const scheme = server instanceof https.Server ? 'https' : 'http';
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
