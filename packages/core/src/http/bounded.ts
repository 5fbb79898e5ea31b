import type { Bytes } from '../runtime/bytes.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { errorResponse } from './error-response.ts';
import type { RequestEvent } from './events.ts';
import type { HttpRequest, HttpResponse } from './message.ts';
import { isBelowV2 } from './route.ts';

/** What {@link bounded} is told. */
export interface Bounds {
  /** Requests at once, each until its body is through. */
  maxRequests: number;
  /** Whether the cache was closed. */
  closed(): boolean;
  /** Wall time in ms since the epoch. */
  now(): number;
  /** Told of what is refused here, before anybody else has seen it. */
  observe(event: RequestEvent): void;
}

/** A handler that is {@link bounded}. */
export interface Bounded {
  handle(request: HttpRequest): Promise<HttpResponse | undefined>;
  /** Resolves when no request runs: each until its body is through. */
  idle(): Promise<void>;
}

/** Answers with 503 what is more than the host wants to bear (SEMANTICS 38), and everything once the cache is closed. */
export function bounded(
  handle: (request: HttpRequest) => Promise<HttpResponse | undefined>,
  { maxRequests, closed, now, observe }: Bounds,
): Bounded {
  let running = 0;
  let waiting: (() => void)[] = [];
  const done = () => {
    running--;
    if (running > 0) return;
    for (const wake of waiting) wake();
    waiting = [];
  };

  function refuse(request: HttpRequest, error: ProxyCacheError): HttpResponse {
    const response = errorResponse(error, request, { now: now() });
    const { method } = request;
    observe({ type: 'request', method, kind: 'invalid', status: response.status, durationMs: 0, error: error.code });
    return response;
  }

  async function handleBounded(request: HttpRequest): Promise<HttpResponse | undefined> {
    if (!isBelowV2(request.url)) return undefined;
    if (closed()) return refuse(request, new ProxyCacheError('closed', 'the cache is closed'));
    if (running >= maxRequests) {
      const message = `${running} requests run already; try again shortly`;
      return refuse(request, new ProxyCacheError('too-many-requests', message));
    }
    running++;
    let response: HttpResponse | undefined;
    try {
      response = await handle(request);
    } finally {
      if (!isStream(response?.body)) done();
    }
    return response && isStream(response.body) ? { ...response, body: watched(response.body, done) } : response;
  }

  return {
    handle: handleBounded,
    idle: () => (running === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  };
}

function isStream(body: HttpResponse['body'] | undefined): body is Bytes {
  return body !== null && body !== undefined && !(body instanceof Uint8Array);
}

/** The same body, with a call when it is over in whatever way. */
function watched(body: Bytes, done: () => void): Bytes {
  const source = body[Symbol.asyncIterator]();
  let over = false;
  const end = () => {
    if (!over) done();
    over = true;
  };
  const iterator: AsyncIterator<Uint8Array> = {
    async next() {
      try {
        const result = await source.next();
        if (result.done) end();
        return result;
      } catch (error) {
        end();
        throw error;
      }
    },
    async return() {
      end();
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
