import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServerOptions } from 'node:https';
import { type CloseOptions, type ProxyCache, systemClock } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import type { Logger } from 'pino';
import { answerBadRequest } from './bad-request.ts';
import { clientAddress } from './client-address.ts';
import type { Config } from './config-schema.ts';
import { answerHealth } from './health.ts';
import { createServer, listen, type UnboundServer, urlOf } from './listener.ts';
import { loggedPath, logRequest, noteCacheStatus, type RequestContext } from './request-log.ts';

/** A server that listens. */
export interface RunningServer {
  /** `http://127.0.0.1:5000` */
  url: string;
  /** Stops listening, lets what runs end for `limits.shutdownWithin`, then cuts it off. */
  stop(): Promise<void>;
}

// Not a WeakMap: with one entry a request, each collection of garbage looks through them all.
const contextOf = Symbol('context');
type RequestWithContext = IncomingMessage & { [contextOf]?: RequestContext };

/** What a server is made of. */
export interface ServerParts {
  cache: Pick<ProxyCache, 'handle' | 'close'>;
  config: Config;
  /** What relative paths of the configuration start from. */
  folder: string;
  logger: Logger;
  /** Time limits of Node's own for handshakes and for reading requests. Default: ours. */
  limits?: ServerOptions;
}

/**
 * Serves a cache and its health over HTTP or HTTPS.
 *
 * @throws ProxyCacheError `invalid-options` for a certificate that cannot be used, or an address that cannot be had
 */
export async function startServer({ cache, config, folder, logger, limits = {} }: ServerParts): Promise<RunningServer> {
  let stopping = false;
  const { stalledFor } = config.limits;
  const addressOf = clientAddress(config.trustedProxies);
  const handle = createNodeHandler(noteCacheStatus(cache), {
    context: (req) => (req as RequestWithContext)[contextOf],
    ...(stalledFor !== undefined && { stalledFor }),
    onError: (err, req) => logger.error({ err, method: req.method, path: loggedPath(req) }, 'request failed'),
  });
  const answer = (req: IncomingMessage, res: ServerResponse): void => {
    // Clients that keep their connection shall send their next request elsewhere.
    if (stopping) res.setHeader('connection', 'close');
    if (answerHealth(req, res, !stopping)) return;
    const context: RequestContext = { address: addressOf(req), cacheStatus: undefined, user: undefined };
    (req as RequestWithContext)[contextOf] = context;
    if (config.log.requests) logRequest({ req, res, context }, logger);
    handle(req, res);
  };

  const unbound = createServer(config, { folder, logger, limits });
  const { server, release } = unbound;
  server.on('request', answer);
  // A push is refused by its headers: its body need not be sent first (RFC 9110 10.1.1).
  server.on('checkContinue', answer);
  server.on('clientError', answerBadRequest);
  try {
    await listen(server, config.listen, 'listen');
  } catch (error) {
    release();
    throw error;
  }
  return {
    url: urlOf(server),
    async stop() {
      stopping = true;
      release();
      const { shutdownWithin: graceMs, shutdownIngests: ingests } = config.limits;
      await drain(unbound, cache, { graceMs, ingests });
    },
  };
}

async function drain(
  { server, cutOff }: UnboundServer,
  cache: ServerParts['cache'],
  how: Required<CloseOptions>,
): Promise<void> {
  const closed = new Promise<void>((done) => server.close(() => done()));
  // A connection that becomes idle from now on is not kept.
  const sweep = setInterval(() => server.closeIdleConnections(), 100);
  let cancel = (): void => undefined;
  const timeIsUp = new Promise<void>((done) => {
    // Node's own setTimeout fires at once for what is longer than 24 days.
    cancel = systemClock.after(how.graceMs, done);
  });
  try {
    const cacheClosed = cache.close(how);
    await Promise.race([closed, timeIsUp]);
    cutOff();
    await Promise.all([closed, cacheClosed]);
  } finally {
    clearInterval(sweep);
    cancel();
  }
}
