import { describe, expect, it } from 'vitest';
import { type ErrorCode, ProxyCacheError } from '../runtime/errors.ts';
import { UpstreamError, type UpstreamErrorCode } from '../upstream/upstream-error.ts';
import { errorResponse } from './error-response.ts';
import type { HttpResponse } from './message.ts';

const now = 1_000_000;
const get = { method: 'GET' };

function told(response: HttpResponse): { code: string; message: string; detail?: unknown } {
  const { errors } = JSON.parse(Buffer.from(response.body as Uint8Array).toString());
  expect(errors).toHaveLength(1);
  return errors[0];
}

type Expected = [status: number, code: string, retryAfter?: string];

const own: Record<ErrorCode, Expected> = {
  'name-invalid': [400, 'NAME_INVALID'],
  'digest-invalid': [400, 'DIGEST_INVALID'],
  'tag-invalid': [404, 'MANIFEST_UNKNOWN'],
  'range-invalid': [400, 'RANGE_INVALID'],
  'page-invalid': [400, 'PAGINATION_NUMBER_INVALID'],
  'name-unknown': [404, 'NAME_UNKNOWN'],
  'upstream-unusable': [503, 'UNAVAILABLE', '30'],
  'upstreams-unread': [503, 'UNAVAILABLE', '2'],
  'manifest-unknown': [404, 'MANIFEST_UNKNOWN'],
  'manifest-unsupported': [415, 'MANIFEST_INVALID'],
  'blob-unknown': [404, 'BLOB_UNKNOWN'],
  unauthenticated: [401, 'UNAUTHORIZED'],
  denied: [403, 'DENIED'],
  'not-admitted': [403, 'DENIED'],
  held: [403, 'DENIED', '60'],
  'admission-failed': [503, 'UNAVAILABLE', '5'],
  'read-only': [403, 'DENIED'],
  unsupported: [404, 'UNSUPPORTED'],
  'blob-too-large': [403, 'DENIED'],
  'body-too-large': [413, 'SIZE_INVALID'],
  'layout-invalid': [400, 'UNKNOWN'],
  'too-many-requests': [503, 'UNAVAILABLE', '1'],
  'too-many-ingests': [503, 'UNAVAILABLE', '1'],
  closed: [503, 'UNAVAILABLE', '5'],
  aborted: [503, 'UNAVAILABLE', '1'],
  'access-failed': [503, 'UNAVAILABLE', '5'],
  'storage-failed': [503, 'UNAVAILABLE', '5'],
  'quota-exceeded': [503, 'UNAVAILABLE', '30'],
  'storage-full': [503, 'UNAVAILABLE', '30'],
  'storage-damaged': [503, 'UNAVAILABLE', '5'],
  'storage-format': [500, 'UNKNOWN'],
  'digest-mismatch': [502, 'UNAVAILABLE'],
  'invalid-options': [500, 'UNKNOWN'],
  'upstream-exists': [409, 'UNKNOWN'],
  'secret-required': [400, 'UNKNOWN'],
};

const upstream: Record<UpstreamErrorCode, Expected> = {
  unreachable: [502, 'UNAVAILABLE'],
  timeout: [504, 'UNAVAILABLE'],
  'server-error': [503, 'UNAVAILABLE', '5'],
  'rate-limited': [429, 'TOOMANYREQUESTS', '60'],
  'foreign-answer': [502, 'UNAVAILABLE'],
  'token-failed': [502, 'UNAVAILABLE'],
  'credentials-rejected': [502, 'UNAVAILABLE'],
  'address-refused': [502, 'UNAVAILABLE'],
  'digest-mismatch': [502, 'UNAVAILABLE'],
  'too-large': [502, 'UNAVAILABLE'],
  busy: [503, 'UNAVAILABLE', '1'],
  unavailable: [503, 'UNAVAILABLE', '5'],
  offline: [504, 'UNAVAILABLE'],
};

/** Errors whose own words are for the host: they may hold paths and options. */
const hidden = new Set<string>([
  'storage-failed',
  'storage-full',
  'quota-exceeded',
  'storage-damaged',
  'storage-format',
  'invalid-options',
]);

describe('errorResponse', () => {
  it.each(Object.entries(own))('tells %s as %j', (code, [status, ociCode, retryAfter]) => {
    const response = errorResponse(new ProxyCacheError(code as ErrorCode, 'in our words'), get, { now });
    expect(response.status).toBe(status);
    expect(response.headers['retry-after']).toBe(retryAfter);
    const error = told(response);
    expect(error.code).toBe(ociCode);
    if (hidden.has(code)) expect(error.message).not.toContain('in our words');
    else expect(error.message).toBe('in our words');
  });

  it.each(Object.entries(upstream))(
    'tells an upstream that failed by %s as %j',
    (code, [status, ociCode, retryAfter]) => {
      const failure = new UpstreamError(code as UpstreamErrorCode, 'hub failed', { upstream: 'hub', status: 418 });
      const response = errorResponse(failure, get, { now });
      expect(response.status).toBe(status);
      expect(response.headers['retry-after']).toBe(retryAfter);
      expect(response.headers['cache-status']).toBe(`proxycache; fwd=miss; fwd-status=418; detail=${code}`);
      expect(told(response)).toEqual({
        code: ociCode,
        message: 'hub failed',
        detail: { upstream: 'hub', reason: code },
      });
    },
  );

  it('never tells that an upstream failed by 404', () => {
    for (const code of Object.keys(upstream)) {
      const failure = new UpstreamError(code as UpstreamErrorCode, 'hub failed', { upstream: 'hub', status: 404 });
      expect(errorResponse(failure, get, { now }).status).toBeGreaterThan(404);
    }
  });

  it.each([
    [now + 90_000, '90'],
    [now + 1_001, '2'],
    [now - 5_000, '1'],
  ])('says when to come back: at %d', (retryAt, seconds) => {
    const failure = (code: UpstreamErrorCode) => new UpstreamError(code, 'later', { upstream: 'hub', retryAt });
    expect(errorResponse(failure('rate-limited'), get, { now }).headers['retry-after']).toBe(seconds);
    expect(errorResponse(failure('unavailable'), get, { now }).headers['retry-after']).toBe(seconds);
    expect(errorResponse(failure('unreachable'), get, { now }).headers['retry-after']).toBeUndefined();
  });

  it.each([
    [{ status: 503, retryAt: now + 7_000 }, 503, '7'],
    [{ status: 403, retryAt: now + 7_000 }, 503, '7'],
    [{ status: 500 }, 503, '5'],
    [{ status: 200 }, 502, undefined],
    [{}, 502, undefined],
  ])('says when to come back to a client whose token service failed by %j', (why, status, retryAfter) => {
    const failure = new UpstreamError('token-failed', 'no token', { upstream: 'hub', ...why });
    const response = errorResponse(failure, get, { now });
    expect([response.status, response.headers['retry-after']]).toEqual([status, retryAfter]);
    expect(told(response)).toMatchObject({ code: 'UNAVAILABLE', detail: { reason: 'token-failed' } });
  });

  it.each([new Error('secret /var/lib/key'), 'secret', undefined, null, { code: 'name-invalid', message: 'secret' }])(
    'tells %s as 500 and nothing of it',
    (error) => {
      const response = errorResponse(error, get, { now });
      expect(response.status).toBe(500);
      expect(told(response).code).toBe('UNKNOWN');
      expect(JSON.stringify(response.headers) + told(response).message).not.toContain('secret');
    },
  );

  it('tells a code that only another version knows as 500', () => {
    for (const code of ['brand-new', 'toString', '__proto__']) {
      const error = new ProxyCacheError(code as ErrorCode, 'secret');
      expect(errorResponse(error, get, { now }).status).toBe(500);
      expect(told(errorResponse(error, get, { now })).message).not.toContain('secret');
    }
  });

  it('answers a method that is not supported with those that are', () => {
    const error = new ProxyCacheError('unsupported', 'use GET or HEAD');
    const response = errorResponse(error, { method: 'OPTIONS' }, { now });
    expect(response).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
    expect(errorResponse(error, get, { now }).headers).not.toHaveProperty('allow');
  });

  it('gives JSON that nobody keeps or sniffs, and on HEAD its headers alone', () => {
    const error = new ProxyCacheError('blob-unknown', 'Blödes Ende');
    const response = errorResponse(error, get, { now });
    const length = (response.body as Uint8Array).byteLength;
    expect(response.headers).toEqual({
      'docker-distribution-api-version': 'registry/2.0',
      'x-content-type-options': 'nosniff',
      'cache-status': 'proxycache; detail=blob-unknown',
      'content-type': 'application/json',
      'content-length': String(length),
      'cache-control': 'no-store, no-transform',
    });
    expect(errorResponse(error, { method: 'HEAD' }, { now })).toEqual({ ...response, body: null });
  });
});
