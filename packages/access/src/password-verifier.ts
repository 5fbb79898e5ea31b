import type { Identity } from '@proxycache/core';

/** A user name and a password as a client sent them, not empty and without control characters. */
export interface PasswordAttempt {
  user: string;
  password: string;
  /** Fires when nobody waits for the answer any more. */
  signal: AbortSignal;
}

/**
 * Says who an attempt comes from. `undefined`: from nobody known, be it the user or the password that is wrong, in the
 * same time.
 *
 * @throws ProxyCacheError `unauthenticated` where the client is to be told why. Whatever else it throws says that it could
 *   not tell: the request is refused with 503
 */
export type PasswordVerifier = (attempt: PasswordAttempt) => Identity | undefined | Promise<Identity | undefined>;
