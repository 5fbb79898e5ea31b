import { type Bytes, collect } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Handle, HttpRequest, HttpResponse } from './message.ts';

// As stalledFor of the adapters for Node.
const unreadMs = 5 * 60_000;

/**
 * Answers a web request: Hono, Next, Bun, tests. What is not ours is a plain 404.
 *
 * A body that is cancelled counts as a client that left; so does one of which nothing is read for 5 min.
 *
 * @param host.context the host's own, handed to hooks
 */
export async function answerFetch(
  request: Request,
  handle: Handle,
  { clock, context }: { clock: Clock; context?: unknown },
): Promise<Response> {
  const left = new AbortController();
  const leave = () => left.abort();
  if (request.signal.aborted) leave();
  else request.signal.addEventListener('abort', leave, { once: true });
  const response = await handle(readWebRequest(request, { signal: left.signal, context }));
  if (response !== undefined) return writeWebResponse(response, left, clock);
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

function writeWebResponse(response: HttpResponse, left: AbortController, clock: Clock): Response {
  const headers = new Headers();
  for (const [name, value] of Object.entries(response.headers)) {
    for (const line of typeof value === 'string' ? [value] : value) headers.append(name, line);
  }
  const { status, body } = response;
  if (body === null || body instanceof Uint8Array) return new Response(body, { status, headers });
  return new Response(streamOf(body, left, clock), { status, headers });
}

/**
 * The body as a web stream that takes a chunk when one is wanted, and no sooner. When the client leaves it is closed and
 * fails, also where nobody reads on or cancels: an end in good order would pass for the whole. A response that a host has
 * dropped is read by nobody, and nothing else tells of it.
 */
function streamOf(body: Bytes, left: AbortController, clock: Clock): ReadableStream<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]();
  const { signal } = left;
  let stop = (): void => undefined;
  let endWait = (): void => undefined;
  const awaitReader = () => {
    endWait = clock.after(unreadMs, () => left.abort(unreadError()));
  };
  const over = () => {
    endWait();
    signal.removeEventListener('abort', stop);
  };
  return new ReadableStream(
    {
      start(controller) {
        stop = () => {
          endWait();
          controller.error(signal.reason);
          Promise.resolve(chunks.return?.()).catch(() => undefined);
        };
        if (signal.aborted) return stop();
        signal.addEventListener('abort', stop, { once: true });
        awaitReader();
      },
      async pull(controller) {
        endWait();
        const { done, value } = await chunks.next();
        if (signal.aborted) return;
        if (done) {
          over();
          return controller.close();
        }
        awaitReader();
        // A copy: the reader keeps what it got, and the producer may reuse its memory at the next call.
        controller.enqueue(new Uint8Array(value));
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

const unreadError = () =>
  new ProxyCacheError('aborted', `nobody read on for ${unreadMs / 60_000} min; the body is closed`);
