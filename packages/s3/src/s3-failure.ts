import { isProxyCacheError, ProxyCacheError } from '@proxycache/core';

/** What S3 said in place of an answer. */
export interface S3Refusal {
  /** Its code, such as `NoSuchKey`. */
  code: string;
  status: number | undefined;
}

/** The refusal behind an error of the SDK; `undefined` for failures to reach S3, or to understand it. */
export function refusalOf(error: unknown): S3Refusal | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined;
  const { httpStatusCode: status } = error.$metadata as { httpStatusCode?: number };
  return status === undefined ? undefined : { code: error.name, status };
}

const advice: Readonly<Record<string, string>> = {
  AccessDenied:
    'the documentation of stores lists what must be allowed; without s3:ListBucket S3 answers so for what is not there',
  AllAccessDisabled: 'the bucket is closed',
  BadDigest: 'what arrived is not what was sent, or the file changed',
  ExpiredToken: 'the credentials have ended: give the client a provider that renews them',
  InvalidAccessKeyId: 'check the credentials',
  NoSuchBucket: 'make the bucket, or correct "bucket", "endpoint" and "region"',
  NotImplemented: 'the server lacks it',
  PermanentRedirect: 'the bucket is in another region: correct "region" or "endpoint"',
  AuthorizationHeaderMalformed: 'the bucket is in another region: correct "region" or "endpoint"',
  RequestTimeTooSkewed: "this machine's clock is wrong",
  SignatureDoesNotMatch: 'check the credentials',
  SlowDown: 'it is asked too often at the moment',
};

// Clocks of a server may be wrong for a moment, and a body may be cut on its way.
const passing = new Set(['RequestTimeout', 'BadDigest', 'IncompleteBody', 'XAmzContentChecksumMismatch']);

/** Whether the same may succeed a little later: S3 was not reached, is busy or broken, or got something else. */
export function mayPass(error: unknown): boolean {
  const refusal = refusalOf(isProxyCacheError(error) ? error.cause : error);
  if (refusal === undefined) return true;
  const { code, status = 0 } = refusal;
  return status >= 500 || status === 429 || status === 408 || status === 409 || passing.has(code);
}

/** Whether somebody else did something to the object at that moment. The SDK does not try that again. */
export function isConflict(error: unknown): boolean {
  return refusalOf(isProxyCacheError(error) ? error.cause : error)?.status === 409;
}

/** Whether an upload in parts has ended already: it was completed, or removed. */
export function isNoSuchUpload(error: unknown): boolean {
  return refusalOf(isProxyCacheError(error) ? error.cause : error)?.code === 'NoSuchUpload';
}

/** Where something went wrong. */
export interface S3Place {
  bucket: string;
  /** What was asked, such as `GetObject`. */
  operation: string;
  key?: string | undefined;
}

/** What a failed call is thrown as: what happened, without what S3 repeats of the request, which may hold a session's token. */
export function s3Failure({ bucket, operation, key }: S3Place, error: unknown): ProxyCacheError {
  if (isProxyCacheError(error)) return error;
  const what = key === undefined ? operation : `${operation} of ${key}`;
  const why = reasonOf(error);
  const refusal = refusalOf(error);
  if (refusal === undefined) {
    const message = `S3 (bucket ${bucket}) could not be asked for ${what}: ${why}`;
    return new ProxyCacheError('storage-failed', message, { cause: error });
  }
  const { code, status } = refusal;
  const next = status === 403 ? (advice[code] ?? advice['AccessDenied']) : advice[code];
  const said = why === 'UnknownError' || why === code ? code : `${code}: ${why}`;
  const message = `S3 (bucket ${bucket}) refused ${what} with ${status} ${said}${next === undefined ? '' : `; ${next}`}`;
  const cause = Object.assign(new Error(said), { name: code, $metadata: { httpStatusCode: status } });
  return new ProxyCacheError('storage-failed', message, { cause });
}

/** An error in words: Node's for several addresses at once has none of its own. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || ('code' in error ? String(error.code) : error.name);
}
