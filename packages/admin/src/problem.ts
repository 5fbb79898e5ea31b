import { STATUS_CODES } from 'node:http';
import { type ErrorCode, isProxyCacheError, isUpstreamError, type UpstreamErrorCode } from '@proxycache/core';
import { record, type Schema, text } from './schema.ts';

/** What went wrong (RFC 9457). `title` is that of the status, since `type` is `about:blank`; programs match on `code`. */
export interface Problem {
  type: 'about:blank';
  title: string;
  status: number;
  detail: string;
  /** As docs/errors.md lists them. */
  code: string;
  /** The upstream it is about, by its key. */
  upstream?: string;
}

export const problemSchema: Schema = record(
  {
    type: { type: 'string', enum: ['about:blank'] },
    title: text,
    status: { type: 'integer', minimum: 400, maximum: 599 },
    detail: { ...text, description: 'What to do about it, where something can be done' },
    code: { ...text, description: 'Stable, for programs' },
    upstream: { ...text, description: 'Key of the upstream it is about' },
  },
  { title: 'Problem', description: 'What went wrong (RFC 9457)', optional: ['upstream'] },
);

// Here, other than where clients pull, who asks is also who sets up: what is wrong with an option is wrong with the request.
const own: Partial<Record<ErrorCode, number>> = {
  'name-invalid': 400,
  'digest-invalid': 400,
  'tag-invalid': 400,
  'page-invalid': 400,
  'invalid-options': 400,
  unauthenticated: 401,
  denied: 403,
  'not-admitted': 403,
  'blob-too-large': 403,
  held: 403,
  'read-only': 403,
  'name-unknown': 404,
  'manifest-unknown': 404,
  'blob-unknown': 404,
  unsupported: 404,
  'upstream-exists': 409,
  'secret-required': 400,
  'body-too-large': 413,
  'too-many-requests': 503,
  'too-many-ingests': 503,
  closed: 503,
  aborted: 503,
  'access-failed': 503,
  'admission-failed': 503,
  'storage-failed': 503,
  'quota-exceeded': 503,
  'storage-full': 503,
  'storage-damaged': 503,
  'digest-mismatch': 502,
};

const ofUpstream: Partial<Record<UpstreamErrorCode, number>> = {
  timeout: 504,
  offline: 504,
  'server-error': 503,
  busy: 503,
  unavailable: 503,
  'rate-limited': 429,
};

/** What is told of an error; `undefined`: it is a defect, of which nothing is told. */
export function problemOf(error: unknown): Problem | undefined {
  if (isUpstreamError(error)) {
    const told = problem(ofUpstream[error.code] ?? 502, error.code, error.message);
    return { ...told, upstream: error.upstream };
  }
  if (!isProxyCacheError(error)) return undefined;
  return problem(own[error.code] ?? 500, error.code, error.message);
}

export function problem(status: number, code: string, detail: string): Problem {
  return { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, detail, code };
}

/** Of what nobody foresaw: nothing of it is known to be fit for showing. */
export const defect: Problem = problem(500, 'internal-error', 'the API failed; its host is told why');
