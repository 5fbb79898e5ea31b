import type { BreakerState } from './breaker.ts';
import type { UpstreamErrorCode } from './upstream-error.ts';

/** What kind of request to an upstream an event or a limit is about. */
export type UpstreamOperation = 'head' | 'manifest' | 'blob' | 'list' | 'token' | 'ping';

/** Events of this folder. `durationMs` runs to the end of the response's headers. */
export type UpstreamEvent =
  | {
      type: 'upstream-request';
      upstream: string;
      operation: UpstreamOperation;
      /** Host and port that were asked: the upstream's, its token service's, or a redirect's. */
      host: string;
      method: string;
      repository?: string;
      status: number | undefined;
      durationMs: number;
      error?: UpstreamErrorCode;
    }
  /** The body of a response is over, whole or not: told where any of it came. `durationMs` is that of all of the request. */
  | {
      type: 'upstream-received';
      upstream: string;
      operation: UpstreamOperation;
      host: string;
      method: string;
      repository?: string;
      /** As they came, also those that nobody had use for. */
      bytes: number;
      complete: boolean;
      durationMs: number;
    }
  /**
   * `low`: less than `rateLimit.reserve` of the quota is left, which is kept for images that are not stored; told again
   * when it has recovered. `limit` and `remaining` are numbers of pulls within `windowMs`.
   */
  | { type: 'rate-limit'; upstream: string; low: boolean; limit: number; remaining: number; windowMs: number }
  /**
   * A host of the upstream (the registry, its token service, one that a redirect led to) failed again and again and is not
   * asked (`open`, until `retryAt`, ms since the epoch), is tried by one request (`half-open`), or answers or was
   * not asked for long (`closed`).
   */
  | { type: 'breaker-changed'; upstream: string; host: string; state: BreakerState; retryAt?: number }
  /** A request is sent again after `waitMs`, for the `attempt`th time; `error` is why. */
  | {
      type: 'upstream-retried';
      upstream: string;
      operation: UpstreamOperation;
      repository?: string;
      attempt: number;
      error: UpstreamErrorCode;
      waitMs: number;
    }
  /** An endpoint failed that had not failed lately: for a while it is asked last. */
  | { type: 'endpoint-failed'; upstream: string; host: string; error: UpstreamErrorCode }
  | { type: 'credentials-rejected'; upstream: string; host: string; retryAt: number };
