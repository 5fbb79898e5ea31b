/**
 * Why an upstream could not say:
 *
 * - `unreachable`: no connection (DNS, refused, reset, TLS)
 * - `timeout`: no connection, header or next byte in time
 * - `server-error`: 5xx, or a status that means nothing here
 * - `rate-limited`: 429, now or lately; see `retryAt`
 * - `foreign-answer`: not a registry's voice: an HTML page, a body that is not what was asked
 * - `token-failed`: the token service failed
 * - `credentials-rejected`: the token service or the registry refused the configured credential itself
 * - `address-refused`: a redirect or realm led where it must not
 * - `digest-mismatch`: the bytes are not those of the digest
 * - `too-large`: a manifest over the limit
 * - `busy`: no connection slot within `limits.queueFor`
 * - `unavailable`: known to be down, not asked
 * - `offline`: its `mode` is `'offline'`, not asked
 */
export type UpstreamErrorCode =
  | 'unreachable'
  | 'timeout'
  | 'server-error'
  | 'rate-limited'
  | 'foreign-answer'
  | 'token-failed'
  | 'credentials-rejected'
  | 'address-refused'
  | 'digest-mismatch'
  | 'too-large'
  | 'busy'
  | 'unavailable'
  | 'offline';

/**
 * What an `UpstreamErrorCode` leaves open:
 *
 * - of `unreachable`: `dns`, the name is not known; `refused`, nothing listens; `tls`, no handshake, or not a certificate
 *   that is trusted; none of them for what else a network can fail by
 * - of `foreign-answer`: `web-page`, HTML of something in between; `no-registry`, what is asked is none
 */
export type UpstreamFailure = 'dns' | 'refused' | 'tls' | 'web-page' | 'no-registry';

const brand = Symbol.for('proxycache.upstream-error');

/**
 * An upstream could not say: nothing is known of what was asked for. The message holds no host, URL or
 * secret, because clients get it; `cause` names the host. */
export class UpstreamError extends Error {
  readonly code: UpstreamErrorCode;
  /** The upstream's key. */
  readonly upstream: string;
  /** The status it answered with, where it did. */
  readonly status: number | undefined;
  /** When to ask again, in ms since the epoch, where it said so. */
  readonly retryAt: number | undefined;
  /** More about the code, where more is known. */
  readonly failure: UpstreamFailure | undefined;
  /** The host that failed, with its port, where it is known: for logs, clients are not to see it. */
  declare readonly host: string | undefined;

  constructor(
    code: UpstreamErrorCode,
    message: string,
    options: {
      upstream: string;
      status?: number;
      retryAt?: number;
      failure?: UpstreamFailure | undefined;
      host?: string;
      cause?: unknown;
    },
  ) {
    super(message, { cause: options.cause });
    Object.defineProperty(this, brand, { value: true });
    this.name = 'UpstreamError';
    this.code = code;
    this.upstream = options.upstream;
    this.status = options.status;
    this.retryAt = options.retryAt;
    this.failure = options.failure;
    // Not among what is printed or made JSON of.
    Object.defineProperty(this, 'host', { value: options.host });
  }
}

/** Whether a value is an {@link UpstreamError}, also of another copy of this package. */
export function isUpstreamError(value: unknown): value is UpstreamError {
  return typeof value === 'object' && value !== null && brand in value;
}

/** Whether nobody was asked, and nothing was sent. */
export function wasNotAsked(error: unknown): boolean {
  return isUpstreamError(error) && (error.code === 'unavailable' || error.code === 'offline');
}
