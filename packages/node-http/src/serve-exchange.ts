import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpResponse, ProxyCache } from '@proxycache/core';
import { hasClientLeft } from './client-left.ts';
import { internalError } from './own-answers.ts';
import { type NodeExchange, readRequest } from './read-request.ts';
import { reset } from './reset.ts';
import { parseStalledFor } from './stalled-client.ts';
import { writeResponse } from './write-response.ts';

/**
 * Answers one request of Node's from a cache: what every adapter for a Node framework is made of. Such an adapter works
 * out `url` and `basePath`, and hands the request on to its host where the answer is `false`.
 *
 * A failure before the first byte is answered with a 500; later it resets the connection, since a body cut short by a
 * clean end can look complete. Never rejects.
 *
 * @returns whether the cache answered; `false`: the path is not its own, nothing was written
 */
export async function serveExchange(cache: Pick<ProxyCache, 'handle'>, exchange: NodeExchange): Promise<boolean> {
  const { req, res } = exchange;
  let response: HttpResponse | undefined;
  try {
    response = await cache.handle(readRequest(exchange));
    if (response === undefined) return false;
    const ms = exchange.stalledForMs ?? parseStalledFor();
    await writeResponse(req, res, response, { ms, tell: (error) => tell(exchange, error) });
  } catch (error) {
    // What breaks because the client is gone is no failure of ours.
    if (!hasClientLeft(req, res)) {
      tell(exchange, error);
      await fail(req, res, response);
    }
  }
  return true;
}

function tell({ req, onError }: NodeExchange, error: unknown): void {
  try {
    onError?.(error, req);
  } catch {
    // The client is owed its answer, whatever becomes of the report.
  }
}

async function fail(req: IncomingMessage, res: ServerResponse, response: HttpResponse | undefined): Promise<void> {
  if (res.headersSent) return reset(req, res);
  for (const name of Object.keys(response?.headers ?? {})) res.removeHeader(name);
  await writeResponse(req, res, internalError);
}
