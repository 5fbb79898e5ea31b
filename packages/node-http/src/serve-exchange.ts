import type { IncomingMessage, ServerResponse } from 'node:http';
import { attempt, type HttpRequest, type HttpResponse, type ProxyCache } from '@proxycache/core';
import { hasClientLeft } from './client-left.ts';
import { internalError } from './own-answers.ts';
import { type NodeExchange, readRequest } from './read-request.ts';
import { reset } from './reset.ts';
import { cutOffStalled, parseStalledFor } from './stalled-client.ts';
import { writeAtOnce, writeResponse } from './write-response.ts';

/**
 * Answers one request of Node's from a cache: what every adapter for a Node framework is made of. Such an adapter works
 * out `url` and `basePath`, and hands the request on to its host where the answer is `false`.
 *
 * A failure before the first byte is answered with a 500; later it resets the connection, since a body cut short by a
 * clean end can look complete. Never rejects.
 *
 * @returns whether the cache answered; `false`: the path is not its own, nothing was written
 */
export function serveExchange(cache: Pick<ProxyCache, 'handle'>, exchange: NodeExchange): Promise<boolean> {
  return Promise.resolve(serve(cache, exchange));
}

/** The same; `true`: it is answered already, and there is nothing to wait for. */
export function serve(cache: Pick<ProxyCache, 'handle'>, exchange: NodeExchange): true | Promise<boolean> {
  const { req, res } = exchange;
  let request: HttpRequest;
  let response: HttpResponse | undefined;
  try {
    request = readRequest(exchange);
    response = cache.handle.fromMemory?.(request);
    if (response && writeAtOnce(req, res, response)) {
      if (res.writableLength > 0) cutOffStalled(req, res, stalledOf(exchange));
      return true;
    }
  } catch (error) {
    return failed(exchange, error, response);
  }
  return serveLater(cache, exchange, { request, response });
}

async function serveLater(
  cache: Pick<ProxyCache, 'handle'>,
  exchange: NodeExchange,
  { request, response }: { request: HttpRequest; response: HttpResponse | undefined },
): Promise<boolean> {
  let given = response;
  try {
    given ??= await cache.handle(request);
    if (given === undefined) return false;
    await writeResponse(exchange.req, exchange.res, given, stalledOf(exchange));
    return true;
  } catch (error) {
    return failed(exchange, error, given);
  }
}

function stalledOf(exchange: NodeExchange): Parameters<typeof cutOffStalled>[2] {
  return { ms: exchange.stalledForMs ?? parseStalledFor(), tell: (error) => tell(exchange, error) };
}

async function failed(exchange: NodeExchange, error: unknown, response: HttpResponse | undefined): Promise<true> {
  const { req, res } = exchange;
  // What breaks because the client is gone is no failure of ours.
  if (!hasClientLeft(req, res)) {
    tell(exchange, error);
    await fail(req, res, response);
  }
  return true;
}

/** The client is owed its answer, whatever becomes of the report. */
function tell({ req, onError }: NodeExchange, error: unknown): void {
  attempt(() => onError?.(error, req));
}

async function fail(req: IncomingMessage, res: ServerResponse, response: HttpResponse | undefined): Promise<void> {
  if (res.headersSent) return reset(req, res);
  for (const name of Object.keys(response?.headers ?? {})) res.removeHeader(name);
  await writeResponse(req, res, internalError);
}
