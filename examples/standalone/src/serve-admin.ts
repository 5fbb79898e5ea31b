import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { resolve } from 'node:path';
import { type AdminOptions, createAdmin, createMetrics } from '@proxycache/admin';
import { type ProxyCache, ProxyCacheError } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import type { Logger } from 'pino';
import * as client from 'prom-client';
import { shortestToken } from './config-admin.ts';
import type { Config } from './config-schema.ts';
import { listen, urlOf } from './listener.ts';
import { loggedPath } from './request-log.ts';

type AdminConfig = NonNullable<Config['admin']>;

/** An operations API that is served. */
export interface ServedAdmin {
  /** `http://127.0.0.1:5001/admin/v1` */
  url: string;
  /** Ends its jobs, then its server. The cache goes on. */
  stop(): Promise<void>;
}

/** An operations API that does not listen yet. */
interface UnboundAdmin {
  server: http.Server;
  /** Ends its jobs. */
  end(): Promise<void>;
}

/**
 * Makes the operations API of a cache. Each write is a line of the log.
 *
 * @param parts.folder what relative paths of the configuration start from
 * @throws ProxyCacheError `invalid-options` for a token that cannot be used
 */
export function createAdminServer(
  cache: ProxyCache,
  config: AdminConfig,
  { folder, logger }: { folder: string; logger: Logger },
): UnboundAdmin {
  const { publicUrl, maxJobs, allowHostCredentials = false, allowReferences = false } = config;
  const token = tokenOf(config, folder);
  const metrics = createMetrics(cache, { client, ofProcess: true });
  const admin = createAdmin(cache, {
    authorize: token === undefined ? 'loopback-only' : bearerOf(token),
    metrics,
    allow: { hostCredentials: allowHostCredentials, references: allowReferences },
    ...(maxJobs !== undefined && { maxJobs }),
    ...(publicUrl !== undefined && { publicUrl }),
    onError: (err) => logger.error({ err }, 'operations API failed'),
  });
  const handle = createNodeHandler(admin, {
    onError: (err, req) => logger.error({ err, method: req.method, path: loggedPath(req) }, 'operations API failed'),
  });
  const server = http.createServer({ headersTimeout: 20_000, requestTimeout: 60_000 }, (req, res) => {
    if (req.method !== 'GET' && req.method !== 'HEAD') logWrite(req, res, logger);
    handle(req, res, () => void res.writeHead(404, problemType).end(nothingElse));
  });
  // A few operators, and whatever else comes.
  server.maxConnections = 128;
  return {
    server,
    async end() {
      metrics.close();
      await admin.close();
    },
  };
}

/**
 * Serves what {@link createAdminServer} makes at an address of its own.
 *
 * @throws ProxyCacheError as that, and `invalid-options` for an address that cannot be had
 */
export async function serveAdmin(
  cache: ProxyCache,
  config: AdminConfig,
  parts: { folder: string; logger: Logger },
): Promise<ServedAdmin> {
  const { server, end } = createAdminServer(cache, config, parts);
  try {
    await listen(server, config, 'admin');
  } catch (error) {
    await end();
    throw error;
  }
  const url = `${urlOf(server)}/admin/v1`;
  parts.logger.info({ url }, 'operations API');
  return {
    url,
    async stop() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      await end();
      server.closeAllConnections();
      await closed;
    },
  };
}

function tokenOf({ token, tokenFile }: AdminConfig, folder: string): string | undefined {
  if (tokenFile === undefined) return token;
  let read: string;
  try {
    read = readFileSync(resolve(folder, tokenFile), 'utf8').trim();
  } catch (error) {
    throw new ProxyCacheError('invalid-options', `admin.tokenFile: ${(error as Error).message}`);
  }
  if (read.length >= shortestToken) return read;
  throw new ProxyCacheError('invalid-options', `admin.tokenFile: expected ${shortestToken} characters or more in it`);
}

function bearerOf(token: string): AdminOptions['authorize'] {
  const expected = hashOf(`Bearer ${token}`);
  return ({ request }) => {
    // Of the same length, whatever came: how long it takes tells nothing.
    if (timingSafeEqual(hashOf(request.headers.get('authorization') ?? ''), expected)) return true;
    throw new ProxyCacheError('unauthenticated', 'send the token of admin as Authorization: Bearer');
  };
}

/** Nothing but the operations API is at its address. */
const nothingElse = JSON.stringify({
  ...{ type: 'about:blank', title: 'Not Found', status: 404, code: 'unsupported' },
  detail: 'this is the operations API; it is below /admin/v1, and images are at another address',
});
const problemType = { 'content-type': 'application/problem+json', 'cache-control': 'no-store' };

const hashOf = (text: string) => createHash('sha256').update(text).digest();

function logWrite(req: http.IncomingMessage, res: http.ServerResponse, logger: Logger): void {
  const { method, socket } = req;
  const client = socket.remoteAddress;
  res.once('close', () => {
    logger.info({ client, method, path: loggedPath(req), status: res.statusCode }, 'operation');
  });
}
