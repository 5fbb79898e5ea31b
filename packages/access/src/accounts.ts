import { createHmac, randomBytes } from 'node:crypto';
import type { Identity } from '@proxycache/core';
import type { BcryptHash } from './bcrypt-hash.ts';

/** How a password is recognised. */
export type Secret = { kind: 'plain'; matches(password: string): boolean } | { kind: 'bcrypt'; hash: BcryptHash };

/** A user who may log in. */
export interface Account {
  identity: Identity;
  secret: Secret;
}

/** Accounts by user name, and one to check in vain for users that have none. */
export interface Accounts {
  find(user: string): Account | undefined;
  /** The same for the same unknown user, and as varied as those that exist: neither time nor its spread tells them apart. */
  standIn(user: string): Account;
}

/** Where accounts come from; a promise where they are being read anew. */
export type AccountSource = () => Accounts | Promise<Accounts>;

/** @param byName at least one */
export function createAccounts(byName: ReadonlyMap<string, Account>): Accounts {
  const all = [...byName.values()];
  const key = randomBytes(32);
  return {
    find: (user) => byName.get(user),
    standIn(user) {
      const at = createHmac('sha256', key).update(user).digest().readUInt32BE() % all.length;
      const account = all[at];
      if (!account) throw new Error('accounts without a user');
      return account;
    },
  };
}
