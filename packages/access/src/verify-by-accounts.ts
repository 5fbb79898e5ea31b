import { ProxyCacheError } from '@proxycache/core';
import type { AccountSource, Secret } from './accounts.ts';
import type { BcryptCheck } from './bcrypt-checks.ts';
import { longestBcryptPassword } from './bcrypt-hash.ts';
import type { PasswordMemory } from './password-memory.ts';
import type { PasswordAttempt, PasswordVerifier } from './password-verifier.ts';

/** Verifies against accounts; an unknown user costs what a known one does. */
export function verifyByAccounts(
  accounts: AccountSource,
  { check, memory }: { check: BcryptCheck; memory: PasswordMemory<boolean> },
): PasswordVerifier {
  async function matches(attempt: PasswordAttempt, secret: Secret): Promise<boolean> {
    if (secret.kind === 'plain') return secret.matches(attempt.password);
    if (Buffer.byteLength(attempt.password) > longestBcryptPassword) {
      const message = `the password has more than the ${longestBcryptPassword} bytes that bcrypt compares`;
      throw new ProxyCacheError('unauthenticated', message);
    }
    const { hash } = secret;
    return memory.recall(attempt, hash.text, (signal) => check(attempt.password, hash, signal));
  }

  return async (attempt) => {
    const now = await accounts();
    const account = now.find(attempt.user);
    const isRight = await matches(attempt, (account ?? now.standIn(attempt.user)).secret);
    return account && isRight ? account.identity : undefined;
  };
}
