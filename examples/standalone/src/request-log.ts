import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AccessOptions, Handle, HttpRequest, HttpResponse, ProxyCache } from '@proxycache/core';
import type { Logger } from 'pino';

/** What the server knows of a request beside what HTTP says; the cache's hooks get it as `context`. */
export interface RequestContext {
  /** Who sent it: see `trustedProxies`. */
  address: string;
  /** How the cache came by its answer (RFC 9211), once it has one. */
  cacheStatus: string | undefined;
  /** Who was let in, by name. */
  user: string | undefined;
}

const longestLogged = 500;

/** Writes a line when a request has ended or its client has left. Its headers and its query are not written: they hold secrets. */
export function logRequest(
  { req, res, context }: { req: IncomingMessage; res: ServerResponse; context: RequestContext },
  logger: Logger,
): void {
  const startedAt = performance.now();
  const sentBefore = req.socket.bytesWritten;
  res.once('close', () => {
    logger.info(
      {
        client: context.address,
        user: context.user,
        method: req.method,
        path: loggedPath(req),
        status: res.statusCode,
        bytes: req.socket.bytesWritten - sentBefore,
        ms: Math.round(performance.now() - startedAt),
        cacheStatus: context.cacheStatus,
        cutOff: res.writableFinished ? undefined : true,
      },
      'request',
    );
  });
}

/**
 * Of what was asked for only the path. Queries carry an upstream's cursor, which may be signed, and the absolute form
 * (RFC 9112 3.2.2) may name a user and a password.
 */
export function loggedPath(req: Pick<IncomingMessage, 'url'>): string {
  const path = (req.url ?? '').replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '');
  return (path || '/').slice(0, longestLogged);
}

/** Hooks that tell each request's context who asked. */
export function noteUser({ authenticate, ...access }: AccessOptions): AccessOptions {
  if (!authenticate) return access;
  return {
    ...access,
    async authenticate(request) {
      const identity = await authenticate(request);
      (request.context as RequestContext).user = identity?.name;
      return identity;
    },
  };
}

/** A cache that tells each request's context how it came by the answer. */
export function noteCacheStatus({ handle }: Pick<ProxyCache, 'handle'>): Pick<ProxyCache, 'handle'> {
  function noted<T extends HttpResponse | undefined>(request: HttpRequest, response: T): T {
    const status = response?.headers['cache-status'];
    (request.context as RequestContext).cacheStatus = typeof status === 'string' ? status : status?.join(', ');
    return response;
  }
  const noting: Handle = async (request) => noted(request, await handle(request));
  return {
    handle: Object.assign(noting, {
      fromMemory: (request: HttpRequest) => noted(request, handle.fromMemory?.(request)),
    }),
  };
}
