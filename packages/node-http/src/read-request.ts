import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Connection, HttpRequest } from '@proxycache/core';
import { onClientLeft } from './client-left.ts';
import { originForm } from './origin-form.ts';
import { type ParsedBody, readRequestBody } from './request-body.ts';

/** One request of Node's and the response to it, with what an adapter knows of where it is mounted. */
export interface NodeExchange {
  req: IncomingMessage;
  res: ServerResponse;
  /** Path and query below the mount point, percent-encoding untouched; also in absolute form. */
  url: string;
  /** The mount point: `''` or `/prefix`. */
  basePath: string;
  /** The host's own, handed to the cache's hooks: asked once, when the cache needs it for a request that is its own. */
  context?: (() => unknown) | undefined;
  /** Where the host's body parser leaves what it read. Default: `req`. */
  parsedBody?: ParsedBody;
  /** Ms after which a client is cut off that accepts nothing of its answer. Default: 5 min. */
  stalledForMs?: number;
  /** Told of what could not be answered or ended half-way; what it throws is dropped. */
  onError?: ((error: unknown, req: IncomingMessage) => void) | undefined;
}

/** Node's request as the cache reads it: wrapped, not copied. */
export function readRequest(exchange: NodeExchange): HttpRequest {
  return new NodeRequest(exchange);
}

// A class for its prototype's getters: this runs once a request, and most requests never touch their signal or context.
class NodeRequest implements HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly basePath: string;
  readonly headers: { get(name: string): string | null };
  readonly #exchange: NodeExchange;
  #signal: AbortSignal | undefined;
  #context: { value: unknown } | undefined;

  constructor(exchange: NodeExchange) {
    this.method = exchange.req.method ?? 'GET';
    this.url = originForm(exchange.url);
    this.basePath = exchange.basePath;
    this.headers = new NodeHeaders(exchange.req);
    this.#exchange = exchange;
  }

  get signal(): AbortSignal {
    if (this.#signal) return this.#signal;
    const controller = new AbortController();
    this.#signal = controller.signal;
    onClientLeft(this.#exchange.req, this.#exchange.res, () => controller.abort());
    return this.#signal;
  }

  get context(): unknown {
    this.#context ??= { value: this.#exchange.context?.() };
    return this.#context.value;
  }

  get connection(): Connection {
    const { headers, socket } = this.#exchange.req;
    const { remoteAddress: address } = socket;
    return { ...(address !== undefined && { address }), headerNames: Object.keys(headers) };
  }

  body(limit: number): Promise<Uint8Array> {
    const { req, parsedBody } = this.#exchange;
    return readRequestBody(req, limit, parsedBody ?? (req as ParsedBody));
  }
}

class NodeHeaders {
  readonly #req: IncomingMessage;

  constructor(req: IncomingMessage) {
    this.#req = req;
  }

  get(name: string): string | null {
    const value = this.#req.headers[name];
    return typeof value === 'string' ? value : Array.isArray(value) ? value.join(', ') : null;
  }
}
