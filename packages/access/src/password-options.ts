import { ProxyCacheError } from '@proxycache/core';
import type { PasswordVerifier } from './password-verifier.ts';
import { type StaticUser, staticAccounts } from './static-users.ts';
import { verifyByAccounts } from './verify-by-accounts.ts';

/** Where passwords are checked. Exactly one of `verify` and `users` says it. */
export interface PasswordOptions {
  /** The host's own: a directory, a database. */
  verify?: PasswordVerifier;
  /** Fixed users by name. */
  users?: Readonly<Record<string, StaticUser>>;
}

/**
 * The verifier that options describe.
 *
 * @throws ProxyCacheError `invalid-options`, without any password
 */
export function passwordVerifier(options: PasswordOptions): PasswordVerifier {
  const { verify, users } = options;
  const given = (['verify', 'users'] as const).filter((name) => options[name] !== undefined);
  if (given.length !== 1) {
    const message = `expected one of "verify" and "users", received ${given.join(' and ') || 'none'}`;
    throw new ProxyCacheError('invalid-options', `passwords: ${message}`);
  }
  if (users !== undefined) return verifyByAccounts(staticAccounts(users));
  if (typeof verify === 'function') return verify;
  throw new ProxyCacheError('invalid-options', `passwords: verify: expected a function, received ${typeof verify}`);
}
