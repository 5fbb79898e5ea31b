import type { Accounts } from './accounts.ts';
import type { PasswordVerifier } from './password-verifier.ts';

/** Verifies against accounts; an unknown user costs what a known one does. */
export function verifyByAccounts(accounts: Accounts): PasswordVerifier {
  return ({ user, password }) => {
    const account = accounts.find(user);
    const matches = (account ?? accounts.standIn(user)).secret.matches(password);
    return account && matches ? account.identity : undefined;
  };
}
