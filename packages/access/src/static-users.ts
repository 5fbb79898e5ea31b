import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Identity } from '@proxycache/core';
import { ProxyCacheError } from '@proxycache/core';
import { type Account, type Accounts, createAccounts, type Secret } from './accounts.ts';
import { readBcryptHash } from './bcrypt-hash.ts';
import { expectKnown } from './token-options.ts';
import { userNameProblem } from './user-name.ts';

/** A user given by the host: with exactly one of `password` and `hash`. */
export interface StaticUser extends Pick<Identity, 'repositories' | 'attributes'> {
  /** In plain: as it comes from a secret store or an environment variable. */
  password?: string;
  /** Of bcrypt (`$2y$`, `$2a$`, `$2b$`), as `htpasswd -nB USER` prints it behind the colon. */
  hash?: string;
}

// A record, so that a new field cannot be forgotten here.
const known: Readonly<Record<keyof StaticUser, true>> = {
  password: true,
  hash: true,
  repositories: true,
  attributes: true,
};

/** @throws ProxyCacheError `invalid-options` naming the user, without the password */
export function staticAccounts(users: Readonly<Record<string, StaticUser>>): Accounts {
  const accounts = new Map<string, Account>();
  for (const [name, user] of Object.entries(users)) {
    const problem = userNameProblem(name);
    if (problem !== undefined) throw wrong(`users: ${JSON.stringify(name)}: ${problem}`);
    expectKnown(`passwords: users.${name}`, user, Object.keys(known));
    const { repositories, attributes } = user;
    if (repositories !== undefined && !isTexts(repositories)) {
      throw wrong(`users.${name}.repositories: expected a list of names`);
    }
    const identity: Identity = { name, ...(repositories && { repositories }), ...(attributes && { attributes }) };
    accounts.set(name, { identity, secret: secretOf(name, user) });
  }
  if (accounts.size === 0) throw wrong('users: expected at least one');
  return createAccounts(accounts);
}

function secretOf(name: string, { password, hash: text }: StaticUser): Secret {
  if ((password === undefined) === (text === undefined)) {
    throw wrong(
      `users.${name}: expected either "password" or "hash", received ${text === undefined ? 'none' : 'both'}`,
    );
  }
  if (text === undefined) return plainSecret(name, password);
  const hash = typeof text === 'string' ? readBcryptHash(text) : `a ${typeof text}`;
  if (typeof hash !== 'string') return { kind: 'bcrypt', hash };
  throw wrong(`users.${name}.hash: expected a bcrypt hash, received ${hash}; make one: htpasswd -nB ${name}`);
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

const isTexts = (given: unknown) => Array.isArray(given) && given.every((one) => typeof one === 'string');

const wrong = (message: string) => new ProxyCacheError('invalid-options', `passwords: ${message}`);
