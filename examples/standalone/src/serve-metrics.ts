import http from 'node:http';
import { createMetrics } from '@proxycache/admin';
import type { ProxyCache } from '@proxycache/core';
import type { Logger } from 'pino';
import * as client from 'prom-client';
import type { Config } from './config-schema.ts';
import { listen, urlOf } from './listener.ts';

/** Metrics that can be read. */
export interface ServedMetrics {
  /** `http://127.0.0.1:9464/metrics` */
  url: string;
  stop(): Promise<void>;
}

/**
 * Serves a cache's metrics at `/metrics` of an address of their own, to whoever reaches it.
 *
 * @throws ProxyCacheError `invalid-options` for an address that cannot be had
 */
export async function serveMetrics(
  cache: ProxyCache,
  at: NonNullable<Config['metrics']>,
  logger: Logger,
): Promise<ServedMetrics> {
  const metrics = createMetrics(cache, { client, ofProcess: true });
  const server = http.createServer({ requestTimeout: 10_000 }, (req, res) => {
    answer(req, res).catch((err) => {
      logger.error({ err }, 'metrics failed');
      send(res, 500, { text: 'the metrics cannot be read\n' });
    });
  });
  // A few readers, and whatever else comes: none of it takes much.
  server.maxConnections = 64;

  async function answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    if (req.url?.split('?', 1)[0] !== '/metrics') return send(res, 404, { text: 'metrics are at /metrics\n' });
    if (req.method !== 'GET' && req.method !== 'HEAD') return send(res, 405, { text: 'only GET and HEAD\n' });
    send(res, 200, { text: await metrics.text(), type: metrics.contentType });
  }

  try {
    await listen(server, at, 'metrics');
  } catch (error) {
    metrics.close();
    throw error;
  }
  const url = `${urlOf(server)}/metrics`;
  logger.info({ url }, 'metrics');
  return {
    url,
    async stop() {
      metrics.close();
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function send(
  res: http.ServerResponse,
  status: number,
  { text, type = 'text/plain; charset=utf-8' }: { text: string; type?: string },
): void {
  res.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 405 && { allow: 'GET, HEAD' }),
  });
  // Node leaves the body out of an answer to HEAD.
  res.end(text);
}
