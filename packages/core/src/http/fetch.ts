import { type Bytes, collect } from '../runtime/bytes.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Handle, HttpRequest, HttpResponse } from './message.ts';

/**
 * Answers a web request: Hono, Next, Bun, tests. What is not ours is a plain 404.
 *
 * A body that is cancelled counts as a client that left.
 *
 * @param context the host's own, handed to hooks
 */
export async function answerFetch(request: Request, handle: Handle, context?: unknown): Promise<Response> {
  const left = new AbortController();
  const leave = () => left.abort();
  if (request.signal.aborted) leave();
  else request.signal.addEventListener('abort', leave, { once: true });
  const response = await handle(readWebRequest(request, { signal: left.signal, context }));
  if (response !== undefined) return writeWebResponse(response, left);
  const headers = { 'content-type': 'text/plain; charset=utf-8' };
  return new Response(request.method === 'HEAD' ? null : 'not found\n', { status: 404, headers });
}

/** A web request as core reads it. @param how.signal fires when the client has left */
export function readWebRequest(
  request: Request,
  { signal = request.signal, context }: { signal?: AbortSignal; context?: unknown } = {},
): HttpRequest {
  const { url, headers } = request;
  // A web request's URL is absolute, normalized and without credentials; its path and query are taken as they stand.
  const authority = url.indexOf('://') + 3;
  const path = url.indexOf('/', authority);
  const fragment = url.indexOf('#', path);
  return {
    method: request.method,
    url: url.slice(path, fragment < 0 ? url.length : fragment),
    basePath: '',
    // Servers that speak fetch may keep the Host header to themselves: it is in the URL.
    headers: { get: (name) => headers.get(name) ?? (name === 'host' ? url.slice(authority, path) : null) },
    signal,
    context,
    body: (limit) => readBody(request, limit),
  };
}

async function readBody(request: Request, limit: number): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array();
  const bytes = await collect(request.body, limit);
  if (bytes) return bytes;
  throw new ProxyCacheError('body-too-large', `the request's body is longer than ${limit} bytes`);
}

function writeWebResponse(response: HttpResponse, left: AbortController): Response {
  const headers = new Headers();
  for (const [name, value] of Object.entries(response.headers)) {
    for (const line of typeof value === 'string' ? [value] : value) headers.append(name, line);
  }
  const { status, body } = response;
  if (body === null || body instanceof Uint8Array) return new Response(body, { status, headers });
  return new Response(streamOf(body, left), { status, headers });
}

/**
 * The body as a web stream that takes a chunk when one is wanted, and no sooner. When the client leaves it is closed and
 * fails, also where nobody reads on or cancels: an end in good order would pass for the whole.
 */
function streamOf(body: Bytes, left: AbortController): ReadableStream<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]();
  const { signal } = left;
  let stop = (): void => undefined;
  const over = () => signal.removeEventListener('abort', stop);
  return new ReadableStream(
    {
      start(controller) {
        stop = () => {
          controller.error(signal.reason);
          Promise.resolve(chunks.return?.()).catch(() => undefined);
        };
        if (signal.aborted) stop();
        else signal.addEventListener('abort', stop, { once: true });
      },
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (signal.aborted) return;
        // A copy: the reader keeps what it got, and the producer may reuse its memory at the next call.
        if (!done) return controller.enqueue(new Uint8Array(value));
        over();
        controller.close();
      },
      async cancel() {
        over();
        // First: a pending read holds up the return, and ends when the client has left.
        left.abort();
        await chunks.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
