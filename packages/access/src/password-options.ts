import { availableParallelism } from 'node:os';
import { attempt, type Clock, type Duration, ProxyCacheError, parseDuration, systemClock } from '@proxycache/core';
import { type BcryptCheck, createBcryptChecks } from './bcrypt-checks.ts';
import { createBcryptRunner } from './bcrypt-runner.ts';
import { htpasswdAccounts } from './htpasswd-file.ts';
import type { PasswordObserver } from './password-events.ts';
import { createPasswordMemory } from './password-memory.ts';
import type { PasswordVerifier } from './password-verifier.ts';
import { type StaticUser, staticAccounts } from './static-users.ts';
import { expectKnown } from './token-options.ts';
import { verifyByAccounts } from './verify-by-accounts.ts';
import { verifyByHost } from './verify-by-host.ts';

/** Where passwords are checked, and how. Exactly one of `htpasswd`, `users` and `verify` says where. */
export interface PasswordOptions {
  /** Path of a file of users and bcrypt hashes, as `htpasswd -B` writes it. It is read again when it changes. */
  htpasswd?: string;
  /** Fixed users by name. */
  users?: Readonly<Record<string, StaticUser>>;
  /** The host's own: a directory, a database. Unless `cacheFor` is 0, it is called once at a time for the same user and password. */
  verify?: PasswordVerifier;
  /**
   * How long a password that was right is taken without checking it again. A changed hash ends it at once. With hashes each
   * use begins it anew, as their answer cannot change, and what was wrong is remembered for as long; with `verify` neither.
   * 0: not at all. Default: 60 s.
   */
  cacheFor?: Duration;
  /** How many worker threads check hashes. Default: one less than the machine has cores, 1 to 4. */
  threads?: number;
  /** How long one may have to wait for a thread: who would wait longer is refused at once, with 503. Default: 3 s. */
  queueFor?: Duration;
  /** Is told when the file is read, or cannot be. What it throws is dropped. */
  observer?: PasswordObserver;
  /** Default: the machine's clock. */
  clock?: Clock;
}

const mostThreads = 64;

// A record, so that a new option cannot be forgotten here.
const known: Readonly<Record<keyof PasswordOptions, true>> = {
  htpasswd: true,
  users: true,
  verify: true,
  cacheFor: true,
  threads: true,
  queueFor: true,
  observer: true,
  clock: true,
};

/**
 * The verifier that options describe.
 *
 * @throws ProxyCacheError `invalid-options`, without any password
 */
export function passwordVerifier(options: PasswordOptions): PasswordVerifier {
  expectKnown('passwords', options, Object.keys(known));
  const { htpasswd, users, verify, observer, clock = systemClock } = options;
  const given = (['htpasswd', 'users', 'verify'] as const).filter((name) => options[name] !== undefined);
  if (given.length !== 1) {
    throw wrong(`expected one of "htpasswd", "users" and "verify", received ${given.join(' and ') || 'none'}`);
  }
  const rules = { forMs: durationOf('cacheFor', options.cacheFor ?? '60s'), clock };
  if (verify !== undefined) {
    if (typeof verify !== 'function') throw wrong(`verify: expected a function, received ${typeof verify}`);
    // Of one that remembers by itself, such as ours, nothing is to be remembered again.
    return rules.forMs === 0 ? verify : verifyByHost(verify, rules);
  }
  const tell = quiet(observer);
  const check = checksOf(options, { clock, tell });
  const source =
    users === undefined ? htpasswdAccounts(htpasswd ?? '', { clock, tell }) : always(staticAccounts(users));
  const kindOf = (matches: boolean) => (matches ? 'success' : 'failure');
  return verifyByAccounts(source, { check, memory: createPasswordMemory({ ...rules, kindOf, prolongs: true }) });
}

function checksOf(
  { threads = defaultThreads(), queueFor = '3s' }: PasswordOptions,
  { clock, tell }: { clock: Clock; tell: PasswordObserver },
): BcryptCheck {
  if (!Number.isInteger(threads) || threads < 1 || threads > mostThreads) {
    throw wrong(`threads: expected 1 to ${mostThreads}, received ${JSON.stringify(threads)}`);
  }
  const failed = (cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `a thread that checks passwords could not run, the host's own does its work: ${why}`;
    tell({ type: 'warning', message });
  };
  const runners = Array.from({ length: threads }, () => createBcryptRunner({ clock, failed }));
  return createBcryptChecks({ runners, waitMs: durationOf('queueFor', queueFor), clock });
}

// A flood of wrong passwords leaves the host's own thread a core, where there are two.
const defaultThreads = () => Math.min(Math.max(availableParallelism() - 1, 1), 4);

const always =
  <T>(value: T) =>
  () =>
    value;

function quiet(observer: PasswordObserver | undefined): PasswordObserver {
  return (event) => attempt(() => observer?.(event));
}

function durationOf(name: string, duration: Duration): number {
  try {
    return parseDuration(duration);
  } catch (cause) {
    throw wrong(`${name}: ${(cause as Error).message}`);
  }
}

const wrong = (message: string) => new ProxyCacheError('invalid-options', `passwords: ${message}`);
