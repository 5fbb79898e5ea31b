import {
  type Clock,
  type HttpRequest,
  type HttpResponse,
  isProxyCacheError,
  isUpstreamError,
  ProxyCacheError,
} from '@proxycache/core';
import type { Answer } from './operation.ts';
import { defect, type Problem, problemOf } from './problem.ts';
import { writeUnlimited } from './unlimited.ts';

// What operators see is nobody else's to keep, to guess the type of, or to load into a page of his.
const always = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
};

/** Writes an answer; on HEAD its headers alone. */
export function writeAnswer(request: Pick<HttpRequest, 'method'>, answer: Answer): HttpResponse {
  const { status, headers, json, text } = answer;
  const content =
    text ??
    (json === undefined ? undefined : { contentType: 'application/json', body: JSON.stringify(json, writeUnlimited) });
  if (!content) return { status, headers: { ...always, ...headers }, body: null };
  const body = Buffer.from(content.body);
  const head = { ...always, 'content-type': content.contentType, 'content-length': `${body.byteLength}`, ...headers };
  return { status, headers: head, body: request.method === 'HEAD' ? null : body };
}

/** A problem as an answer. */
export function problemAnswer(problem: Problem, headers: Answer['headers'] = {}): Answer {
  const text = { contentType: 'application/problem+json', body: JSON.stringify(problem) };
  return { status: problem.status, text, headers };
}

/** Writes what went wrong. What nobody foresaw goes to `onError`, and nothing of it to the client. */
export function failureResponse(
  request: Pick<HttpRequest, 'method' | 'signal'>,
  thrown: unknown,
  { clock, onError }: { clock: Clock; onError(error: unknown): void },
): HttpResponse {
  // What ends because its client left ends as it should, and nobody reads the answer.
  const left = isAbort(thrown) && request.signal.aborted;
  const error = left ? new ProxyCacheError('aborted', 'the client left', { cause: thrown }) : thrown;
  const problem = problemOf(error);
  if (!problem) onError(error);
  const headers = headersOf(problem ?? defect, retryAtOf(error), clock.now());
  return writeAnswer(request, problemAnswer(problem ?? defect, headers));
}

const isAbort = (error: unknown) => error instanceof Error && error.name === 'AbortError';

function retryAtOf(error: unknown): number | undefined {
  return isProxyCacheError(error) || isUpstreamError(error) ? error.retryAt : undefined;
}

function headersOf({ status }: Problem, retryAt: number | undefined, now: number): Record<string, string> {
  // RFC 9110 15.5.2: a 401 says what would help.
  if (status === 401) return { 'www-authenticate': 'Bearer realm="proxycache operations"' };
  if (status !== 503 && status !== 429) return {};
  return { 'retry-after': `${retryAt === undefined ? 5 : Math.max(1, Math.ceil((retryAt - now) / 1000))}` };
}
