import type { Bytes } from '../runtime/bytes.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { errorResponse } from './error-response.ts';
import type { HttpRequest, HttpResponse } from './message.ts';

/** What {@link bounded} is told. */
export interface Bounds {
  /** Requests at once, each until its body is through. */
  maxRequests: number;
  /** Whether the cache was closed. */
  closed(): boolean;
  /** Wall time in ms since the epoch. */
  now(): number;
}

/** Answers with 503 what is more than the host wants to bear (SEMANTICS 38), and everything once the cache is closed. */
export function bounded(
  handle: (request: HttpRequest) => Promise<HttpResponse | undefined>,
  { maxRequests, closed, now }: Bounds,
): (request: HttpRequest) => Promise<HttpResponse | undefined> {
  let running = 0;
  const done = () => {
    running--;
  };

  return async (request) => {
    if (!request.url.startsWith('/v2')) return undefined;
    if (closed()) return errorResponse(new ProxyCacheError('closed', 'the cache is closed'), request, { now: now() });
    if (running >= maxRequests) {
      const error = new ProxyCacheError('too-many-requests', `${running} requests run already; try again shortly`);
      return errorResponse(error, request, { now: now() });
    }
    running++;
    let response: HttpResponse | undefined;
    try {
      response = await handle(request);
    } finally {
      if (!isStream(response?.body)) done();
    }
    return response && isStream(response.body) ? { ...response, body: watched(response.body, done) } : response;
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
