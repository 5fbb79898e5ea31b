import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { ProxyCacheError } from '@proxycache/core';
import { type Account, type Accounts, createAccounts, type Secret } from './accounts.ts';
import type { Identity } from './identity.ts';

/** A user given by the host. */
export interface StaticUser extends Pick<Identity, 'repositories' | 'attributes'> {
  /** In plain: as it comes from a secret store or an environment variable. */
  password: string;
}

/** @throws ProxyCacheError `invalid-options` naming the user, without the password */
export function staticAccounts(users: Readonly<Record<string, StaticUser>>): Accounts {
  const accounts = new Map<string, Account>();
  for (const [name, { password, repositories, attributes }] of Object.entries(users)) {
    checkUserName(name);
    const identity: Identity = {
      name,
      ...(repositories && { repositories }),
      ...(attributes && { attributes }),
    };
    accounts.set(name, { identity, secret: plainSecret(name, password) });
  }
  if (accounts.size === 0) throw wrong('users: expected at least one');
  return createAccounts(accounts);
}

function checkUserName(name: string): void {
  // RFC 7617 2: a user-id has no colon, and neither part has control characters.
  if (name !== '' && !/[:\p{Cc}]/u.test(name)) return;
  throw wrong(`users: ${JSON.stringify(name)}: expected a name without ":" and control characters`);
}

function plainSecret(name: string, password: unknown): Secret {
  if (typeof password !== 'string' || password === '' || /\p{Cc}/u.test(password)) {
    throw wrong(`users.${name}.password: expected text that is not empty, without control characters`);
  }
  // Digests of one length: comparing them tells neither length nor beginning. The password itself is not kept.
  const key = randomBytes(32);
  const digestOf = (text: string) => createHmac('sha256', key).update(text).digest();
  const expected = digestOf(password);
  return { kind: 'plain', matches: (text) => timingSafeEqual(digestOf(text), expected) };
}

const wrong = (message: string) => new ProxyCacheError('invalid-options', `passwords: ${message}`);
