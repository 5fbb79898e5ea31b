import type { CacheStatus } from '../pull/answer.ts';
import { type ErrorCode, isProxyCacheError, type ProxyCacheError } from '../runtime/errors.ts';
import { isUpstreamError, type UpstreamError, type UpstreamErrorCode } from '../upstream/upstream-error.ts';
import { baseHeaders, cacheStatusHeader, unkeptContent } from './answer-headers.ts';
import type { HttpResponse } from './message.ts';

/** One error as clients read it (OCI distribution-spec, error codes). */
export interface OciError {
  code: string;
  message: string;
  detail?: Readonly<Record<string, unknown>>;
}

interface Row {
  status: number;
  code: string;
  /** Seconds to wait before asking again, where the error itself does not say. */
  retryAfter?: number;
  /** What is shown instead of an error's own message, which is for the host alone. */
  message?: string;
}

// OCI codes where one fits; else those that the Docker registry API has beside them (RANGE_INVALID,
// PAGINATION_NUMBER_INVALID, UNAVAILABLE, UNKNOWN).
const own: Readonly<Record<ErrorCode, Row>> = {
  'name-invalid': { status: 400, code: 'NAME_INVALID' },
  'digest-invalid': { status: 400, code: 'DIGEST_INVALID' },
  // OCI conformance: a reference that no manifest can have is one that is not there.
  'tag-invalid': { status: 404, code: 'MANIFEST_UNKNOWN' },
  // containers/image goes on without ranges after a 400, and gives up after anything else.
  'range-invalid': { status: 400, code: 'RANGE_INVALID' },
  'page-invalid': { status: 400, code: 'PAGINATION_NUMBER_INVALID' },
  'name-unknown': { status: 404, code: 'NAME_UNKNOWN' },
  'upstream-unusable': { status: 503, code: 'UNAVAILABLE', retryAfter: 30 },
  'upstreams-unread': { status: 503, code: 'UNAVAILABLE', retryAfter: 2 },
  'manifest-unknown': { status: 404, code: 'MANIFEST_UNKNOWN' },
  'manifest-unsupported': { status: 415, code: 'MANIFEST_INVALID' },
  'blob-unknown': { status: 404, code: 'BLOB_UNKNOWN' },
  unauthenticated: { status: 401, code: 'UNAUTHORIZED' },
  denied: { status: 403, code: 'DENIED' },
  'not-admitted': { status: 403, code: 'DENIED' },
  held: { status: 403, code: 'DENIED', retryAfter: 60 },
  'admission-failed': { status: 503, code: 'UNAVAILABLE', retryAfter: 5 },
  'read-only': { status: 403, code: 'DENIED' },
  unsupported: { status: 404, code: 'UNSUPPORTED' },
  'blob-too-large': { status: 403, code: 'DENIED' },
  'body-too-large': { status: 413, code: 'SIZE_INVALID' },
  'layout-invalid': { status: 400, code: 'UNKNOWN' },
  'too-many-requests': { status: 503, code: 'UNAVAILABLE', retryAfter: 1 },
  'too-many-ingests': { status: 503, code: 'UNAVAILABLE', retryAfter: 1 },
  closed: { status: 503, code: 'UNAVAILABLE', retryAfter: 5 },
  aborted: { status: 503, code: 'UNAVAILABLE', retryAfter: 1 },
  'access-failed': { status: 503, code: 'UNAVAILABLE', retryAfter: 5 },
  'storage-failed': { status: 503, code: 'UNAVAILABLE', retryAfter: 5, message: "the cache's storage failed" },
  'quota-exceeded': { status: 503, code: 'UNAVAILABLE', retryAfter: 30, message: "the cache's storage is full" },
  'storage-full': { status: 503, code: 'UNAVAILABLE', retryAfter: 30, message: "the cache's storage is full" },
  'storage-damaged': { status: 503, code: 'UNAVAILABLE', retryAfter: 5, message: "the cache's storage is damaged" },
  'storage-format': { status: 500, code: 'UNKNOWN', message: "the cache's storage cannot be read by this version" },
  'digest-mismatch': { status: 502, code: 'UNAVAILABLE' },
  'upstream-exists': { status: 409, code: 'UNKNOWN' },
  'secret-required': { status: 400, code: 'UNKNOWN' },
  'invalid-options': { status: 500, code: 'UNKNOWN', message: 'the cache is not set up correctly' },
};

const upstream: Readonly<Record<UpstreamErrorCode, Row>> = {
  unreachable: { status: 502, code: 'UNAVAILABLE' },
  timeout: { status: 504, code: 'UNAVAILABLE' },
  'server-error': { status: 503, code: 'UNAVAILABLE', retryAfter: 5 },
  'rate-limited': { status: 429, code: 'TOOMANYREQUESTS', retryAfter: 60 },
  'foreign-answer': { status: 502, code: 'UNAVAILABLE' },
  'token-failed': { status: 502, code: 'UNAVAILABLE' },
  'credentials-rejected': { status: 502, code: 'UNAVAILABLE' },
  'address-refused': { status: 502, code: 'UNAVAILABLE' },
  'digest-mismatch': { status: 502, code: 'UNAVAILABLE' },
  'too-large': { status: 502, code: 'UNAVAILABLE' },
  busy: { status: 503, code: 'UNAVAILABLE', retryAfter: 1 },
  unavailable: { status: 503, code: 'UNAVAILABLE', retryAfter: 5 },
  offline: { status: 504, code: 'UNAVAILABLE' },
};

const unknown: Row = { status: 500, code: 'UNKNOWN', message: 'the cache failed to answer; its host knows more' };

/**
 * The answer that tells a client what went wrong. What is neither ours nor an upstream's failure is told as 500, without
 * its message.
 *
 * @param options.now wall time in ms since the epoch, for `Retry-After`
 * @param options.challenges what a 401 asks for; a client that can bring nothing gets 403
 */
export function errorResponse(
  error: unknown,
  request: { method: string },
  options: { now: number; challenges?: readonly string[] | undefined },
): HttpResponse {
  if (isUpstreamError(error)) return upstreamFailure(error, request, options.now);
  if (isProxyCacheError(error)) return ownFailure(error, request, options);
  return writeFailure(request, unknown, { message: '', detail: 'internal-error' });
}

function ownFailure(
  error: ProxyCacheError,
  request: { method: string },
  { now, challenges }: { now: number; challenges?: readonly string[] | undefined },
): HttpResponse {
  const failure = { message: error.message, detail: error.code };
  const response = writeFailure(request, timed(rowOf(own, error.code), error.retryAt, now), failure);
  if (error.code === 'unauthenticated' && challenges) {
    // RFC 9110 15.5.2: a 401 says what would help.
    if (challenges.length === 0) return { ...response, status: 403 };
    return { ...response, headers: { ...response.headers, 'www-authenticate': challenges } };
  }
  // RFC 9110 15.5.6: what is not supported is the method, and 405 says which ones are; or, for a method that is, the path.
  if (error.code !== 'unsupported' || request.method === 'GET' || request.method === 'HEAD') return response;
  return { ...response, status: 405, headers: { ...response.headers, allow: 'GET, HEAD' } };
}

function upstreamFailure(error: UpstreamError, request: { method: string }, now: number): HttpResponse {
  let row = rowOf(upstream, error.code);
  // That a token service is down for a while is no less passing than that the registry is.
  const isPassing = error.retryAt !== undefined || (error.status ?? 0) >= 500;
  if (error.code === 'token-failed' && isPassing) row = upstream['server-error'];
  return writeFailure(request, timed(row, error.retryAt, now), {
    message: error.message,
    detail: error.code,
    upstream: error,
  });
}

/** Says when to come back, where a failure that passes knows it. */
function timed(row: Row, retryAt: number | undefined, now: number): Row {
  if (row.retryAfter === undefined || retryAt === undefined) return row;
  return { ...row, retryAfter: Math.max(1, Math.ceil((retryAt - now) / 1000)) };
}

// Another copy of this package may throw a code that this one does not know.
function rowOf<Code extends string>(rows: Readonly<Record<Code, Row>>, code: Code): Row {
  return Object.hasOwn(rows, code) ? rows[code] : unknown;
}

function writeFailure(
  request: { method: string },
  row: Row,
  failure: { message: string; detail: string; upstream?: UpstreamError },
): HttpResponse {
  const headers = baseHeaders();
  const status: CacheStatus = { hit: false, detail: failure.detail };
  const error: OciError = { code: row.code, message: row.message ?? failure.message };
  if (failure.upstream) {
    status.fwd = 'miss';
    if (failure.upstream.status !== undefined) status.fwdStatus = failure.upstream.status;
    error.detail = { upstream: failure.upstream.upstream, reason: failure.detail };
  }
  headers['cache-status'] = cacheStatusHeader(status);
  if (row.retryAfter !== undefined) headers['retry-after'] = String(row.retryAfter);
  return writeError(request, { status: row.status, headers, error });
}

/** Writes one OCI error as JSON; on HEAD its headers alone, `Content-Length` of the body it would have. */
export function writeError(
  request: { method: string },
  answer: { status: number; headers: Readonly<Record<string, string>>; error: OciError },
): HttpResponse {
  const body = Buffer.from(JSON.stringify({ errors: [answer.error] }));
  const headers = {
    ...answer.headers,
    'content-type': 'application/json',
    'content-length': String(body.byteLength),
    'cache-control': unkeptContent,
  };
  return { status: answer.status, headers, body: request.method === 'HEAD' ? null : body };
}
