import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duration, ProxyCache } from '@proxycache/core';
import {
  checkAdapter,
  originForm,
  type ParsedBody,
  parseBasePath,
  parseStalledFor,
  serveExchange,
  stripBasePath,
} from '@proxycache/node-http';

/** What the adapter needs of a Koa context, so that it serves Koa 2 and 3 alike. */
export interface KoaContext {
  req: IncomingMessage;
  res: ServerResponse;
  /** Where Koa's body parsers leave what they read. */
  request: object;
  /** The URL before `koa-mount` took a prefix off. */
  originalUrl: string;
  respond?: boolean | undefined;
}

/** Options of `proxyCache`. */
export interface KoaOptions<Context extends KoaContext = KoaContext> {
  /**
   * Path the cache is mounted at, such as `/registry`: `/registry/v2/...` is answered. Below `koa-mount` it is the rest
   * of the path. Default `''`.
   */
  basePath?: string;
  /**
   * What the cache's hooks are to know of a request, such as `(ctx) => ctx.state.user`. Asked once, of requests that the cache answers;
   * where it throws, the request is refused with 500 or 503. Default: nothing.
   */
  context?: (ctx: Context) => unknown;
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
export type KoaMiddleware<Context extends KoaContext = KoaContext> = (
  ctx: Context,
  next: () => Promise<unknown>,
) => Promise<void>;

/**
 * Mounts a cache in a Koa 2 or 3 application: `app.use(proxyCache(cache))`. Put it above body parsers and below what
 * identifies users.
 *
 * @throws ProxyCacheError `invalid-options` for what is no cache, and for options that are wrong or that there are not
 */
export function proxyCache<Context extends KoaContext = KoaContext>(
  cache: Pick<ProxyCache, 'handle'>,
  options: KoaOptions<Context> = {},
): KoaMiddleware<Context> {
  checkAdapter('proxyCache', { cache, options, names: ['basePath', 'context', 'stalledFor', 'onError'] });
  const { context, onError } = options;
  const ownPath = parseBasePath(options.basePath ?? '');
  const stalledForMs = parseStalledFor(options.stalledFor);
  return async (ctx, next) => {
    const { req, res } = ctx;
    const url = stripBasePath(req.url ?? '/', ownPath);
    const answered =
      url !== undefined &&
      (await serveExchange(cache, {
        req,
        res,
        url,
        basePath: mountPath(ctx) + ownPath,
        context: context && (() => context(ctx)),
        parsedBody: ctx.request as ParsedBody,
        stalledForMs,
        onError,
      }));
    // Koa would write an answer of its own, and its default is 404.
    if (answered) ctx.respond = false;
    else await next();
  };
}

/** What `koa-mount`, once or several times, has taken off the path. */
function mountPath({ originalUrl, req }: KoaContext): string {
  const [whole, rest] = [originForm(originalUrl), originForm(req.url ?? '')];
  return whole.endsWith(rest) ? whole.slice(0, whole.length - rest.length) : '';
}
