import type { HttpResponse } from '@proxycache/core';

/** What is answered where nothing but the cache is mounted and the path is not its own. */
export const notFound: HttpResponse = answer(404, 'NOT_FOUND', 'this is a container registry; its API is under /v2/');

/** What is answered when the cache itself failed before the first byte. The cause goes to `onError`, not to clients. */
export const internalError: HttpResponse = answer(
  500,
  'UNKNOWN',
  'the proxy cache failed; its log or observer says why',
);

// The error format of the OCI distribution specification, so that clients show the message.
function answer(status: number, code: string, message: string): HttpResponse {
  const body = Buffer.from(JSON.stringify({ errors: [{ code, message }] }));
  return {
    status,
    headers: {
      'content-type': 'application/json',
      'content-length': `${body.byteLength}`,
      'cache-control': 'no-store, no-transform',
      'x-content-type-options': 'nosniff',
    },
    body,
  };
}
