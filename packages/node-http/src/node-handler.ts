import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duration, ProxyCache } from '@proxycache/core';
import { parseBasePath, stripBasePath } from './base-path.ts';
import { checkAdapter } from './check-adapter.ts';
import { notFound } from './own-answers.ts';
import { serve } from './serve-exchange.ts';
import { parseStalledFor } from './stalled-client.ts';
import { writeResponse } from './write-response.ts';

/** Options of `createNodeHandler`. */
export interface NodeHandlerOptions {
  /** Path the cache is mounted at, such as `/registry`: `/registry/v2/...` is answered. Default `''`: the root. */
  basePath?: string;
  /**
   * What the cache's hooks are to know of a request: its user, TLS peer, address. Asked once, of requests that the cache
   * answers; where it throws, the request is refused with 500 or 503. Default: nothing.
   */
  context?: (req: IncomingMessage) => unknown;
  /**
   * A client that accepts no byte of its answer for so long is cut off, and `onError` told. The kernel accepts for it about
   * 1 MB at a time: below some minutes one that reads slowly is cut off, too. Default `'5m'`; `Infinity`: never.
   */
  stalledFor?: Duration;
  /**
   * Told of what could not be answered or ended half-way. Log the path of `req.url` at most: its query may hold an
   * upstream's signed cursor. Default: nobody; the cache's observer has its own events.
   */
  onError?: (error: unknown, req: IncomingMessage) => void;
}

/** Answers requests of Node's; what is not the cache's goes to `next`, or gets a 404 where there is none. */
export type NodeHandler = (req: IncomingMessage, res: ServerResponse, next?: (error?: unknown) => void) => void;

/**
 * A request listener for `http.createServer`, and middleware for whatever calls `(req, res, next)`.
 *
 * @throws ProxyCacheError `invalid-options` for what is no cache, and for options that are wrong or that there are not
 */
export function createNodeHandler(cache: Pick<ProxyCache, 'handle'>, options: NodeHandlerOptions = {}): NodeHandler {
  checkAdapter('createNodeHandler', { cache, options, names: ['basePath', 'context', 'stalledFor', 'onError'] });
  const { context, onError } = options;
  const basePath = parseBasePath(options.basePath ?? '');
  const stalledForMs = parseStalledFor(options.stalledFor);

  const goOn: NodeHandler = (req, res, next) => {
    if (next) next();
    else void writeResponse(req, res, notFound);
  };
  return (req, res, next) => {
    const url = stripBasePath(req.url ?? '/', basePath);
    if (url === undefined) return goOn(req, res, next);
    const exchange = { req, res, url, basePath, context: context && (() => context(req)), stalledForMs, onError };
    const served = serve(cache, exchange);
    if (served === true) return;
    void served.then((answered) => {
      if (!answered) goOn(req, res, next);
    });
  };
}
