/** What went wrong, for programs. Stable: a code changes its meaning only in a major version. See docs/errors.md. */
export type ErrorCode =
  // What the caller asked for
  | 'name-invalid'
  | 'digest-invalid'
  | 'tag-invalid'
  | 'range-invalid'
  | 'page-invalid'
  | 'name-unknown'
  | 'upstream-unusable'
  | 'upstreams-unread'
  | 'manifest-unknown'
  | 'manifest-unsupported'
  | 'blob-unknown'
  | 'unauthenticated'
  | 'denied'
  | 'not-admitted'
  | 'held'
  | 'admission-failed'
  | 'read-only'
  | 'unsupported'
  | 'body-too-large'
  | 'blob-too-large'
  | 'layout-invalid'
  // What we can bear
  | 'too-many-requests'
  | 'too-many-ingests'
  | 'closed'
  | 'aborted'
  | 'access-failed'
  // Storage
  | 'storage-failed'
  | 'storage-damaged'
  | 'storage-format'
  | 'storage-full'
  | 'quota-exceeded'
  | 'digest-mismatch'
  // Set-up
  | 'invalid-options'
  | 'upstream-exists'
  | 'secret-required';

const brand = Symbol.for('proxycache.error');

/** Any failure of this library but an upstream's ({@link UpstreamError}). Match on `code`, not on the message. */
export class ProxyCacheError extends Error {
  readonly code: ErrorCode;
  /** When it is worth trying again, in ms since the epoch, where that is known. */
  readonly retryAt?: number;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; retryAt?: number } = {}) {
    super(message, options);
    Object.defineProperty(this, brand, { value: true });
    this.name = 'ProxyCacheError';
    this.code = code;
    if (options.retryAt !== undefined) this.retryAt = options.retryAt;
  }
}

/** Whether a value is a {@link ProxyCacheError}, also of another copy of this package. */
export function isProxyCacheError(value: unknown): value is ProxyCacheError {
  return typeof value === 'object' && value !== null && brand in value;
}
