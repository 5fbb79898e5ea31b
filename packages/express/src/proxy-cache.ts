import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duration, ProxyCache } from '@proxycache/core';
import { checkAdapter, parseStalledFor, serveExchange } from '@proxycache/node-http';

/** What the adapter needs of an Express request, so that it serves Express 4 and 5 alike. */
export interface MountedRequest extends IncomingMessage {
  /** The path the middleware is mounted at, which Express has taken off `url`. */
  baseUrl: string;
}

/** Options of `proxyCache`. */
export interface ExpressOptions<Req extends MountedRequest = MountedRequest> {
  /**
   * What the cache's hooks are to know of a request, such as `(req) => req.user`. Asked once, of requests that the cache answers;
   * where it throws, the request is refused with 500 or 503. Default: nothing.
   */
  context?: (req: Req) => unknown;
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

/** Middleware that takes the requests of the cache and leaves the others to those behind it. */
export type ExpressMiddleware<Req extends MountedRequest = MountedRequest> = (
  req: Req,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * Mounts a cache in an Express 4 or 5 application: `app.use(proxyCache(cache))`, or at a path,
 * `app.use('/registry', proxyCache(cache))`. Put it above body parsers and below what identifies users.
 *
 * @throws ProxyCacheError `invalid-options` for what is no cache, and for options that are wrong or that there are not
 */
export function proxyCache<Req extends MountedRequest = MountedRequest>(
  cache: Pick<ProxyCache, 'handle'>,
  options: ExpressOptions<Req> = {},
): ExpressMiddleware<Req> {
  checkAdapter('proxyCache', { cache, options, names: ['context', 'stalledFor', 'onError'] });
  const { context, onError } = options;
  const stalledForMs = parseStalledFor(options.stalledFor);
  return (req, res, next) => {
    const { url = '/', baseUrl: basePath } = req;
    const exchange = { req, res, url, basePath, context: context && (() => context(req)), stalledForMs, onError };
    void serveExchange(cache, exchange).then((answered) => {
      if (!answered) next();
    });
  };
}
