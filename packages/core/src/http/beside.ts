import { askHook } from '../access/ask-hook.ts';
import type { AccessFailedEvent } from '../access/events.ts';
import type { AccessRequest, AccessSettings } from '../access/hooks.ts';
import { createVisit } from '../access/visit.ts';
import { discard } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { parseDuration } from '../runtime/duration.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { isStream } from './body.ts';
import { errorResponse } from './error-response.ts';
import type { RequestEvent } from './events.ts';
import type { Handle, HandleBeside, HttpRequest, HttpResponse } from './message.ts';

/** Answers the paths that access has beside `/v2/`, if it has any, in time or with 503. Never rejects. */
export function createBeside(
  { handle, within }: AccessSettings & { handle?: HandleBeside },
  { clock, observe }: { clock: Clock; observe(event: RequestEvent | AccessFailedEvent): void },
): HandleBeside | undefined {
  if (!handle) return undefined;
  const parts = { clock, observe, withinMs: parseDuration(within) };

  async function ask(request: HttpRequest, asked: Handle): Promise<HttpResponse | undefined> {
    const visit = createVisit(request);
    let isOver = false;
    const call = async () => {
      const response = await asked(withBody(visit.request, request));
      // Nobody is left to close what comes too late.
      if (isOver && isStream(response?.body)) await discard(response.body);
      return response;
    };
    const refusesBy = ['body-too-large', 'too-many-requests'] as const;
    const waiting = { visit, client: () => request.signal };
    try {
      return await askHook({ hook: 'handle', call, read: readResponse, refusesBy }, waiting, parts);
    } finally {
      isOver = true;
    }
  }

  const answer: Handle = async (request) => {
    const startedAt = clock.monotonic();
    const { method } = request;
    let response: HttpResponse | undefined;
    let error: string | undefined;
    try {
      response = await ask(request, handle);
      if (!response) return undefined;
    } catch (cause) {
      const failure = isProxyCacheError(cause) ? cause : new ProxyCacheError('aborted', 'the client left', { cause });
      error = failure.code;
      response = errorResponse(failure, request, { now: clock.now() });
    }
    const durationMs = clock.monotonic() - startedAt;
    const { status } = response;
    observe({ type: 'request', kind: 'access', method, status, durationMs, ...(error !== undefined && { error }) });
    return response;
  };

  return Object.assign(answer, { owns: (url: string) => handle.owns?.(url) ?? false });
}

function withBody(seen: AccessRequest, request: HttpRequest): HttpRequest {
  const { method, url, basePath, headers } = seen;
  return {
    method,
    url,
    basePath,
    headers,
    // Whether the path is one of its own is for the hook to say: before, the host is not asked.
    get context() {
      return seen.context;
    },
    get connection() {
      return seen.connection;
    },
    get signal() {
      return seen.signal;
    },
    body: (limit) => request.body(limit),
  };
}

/** @throws Error */
function readResponse(given: unknown): HttpResponse | undefined {
  if (given === undefined) return undefined;
  const isResponse = typeof given === 'object' && given !== null && 'status' in given && Number.isInteger(given.status);
  if (!isResponse || !('headers' in given) || !('body' in given)) throw new Error('expected a response or undefined');
  return given as unknown as HttpResponse;
}
