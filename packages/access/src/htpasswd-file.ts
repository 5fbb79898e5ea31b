import { readFileSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { type Clock, ProxyCacheError } from '@proxycache/core';
import { type AccountSource, type Accounts, createAccounts } from './accounts.ts';
import { parseHtpasswd } from './htpasswd-lines.ts';
import type { PasswordObserver } from './password-events.ts';

// As often as that, at most, and only while somebody logs in.
const checkEveryMs = 1_000;
// A file system that hangs must not keep those out whom the last reading knows.
const readWithinMs = 1_000;
const mostBytes = 8 * 1024 * 1024;

/** What a file takes to be watched. */
export interface FileParts {
  clock: Clock;
  tell: PasswordObserver;
  /** Default: from the disk. */
  read?: (path: string) => Promise<Buffer>;
}

type Users = ReturnType<typeof parseHtpasswd>;

/**
 * The accounts of an htpasswd file, as it is now: it is read again once a second while it is asked for. What cannot be read
 * or used any more is told, and what was last read well goes on to hold.
 *
 * @throws ProxyCacheError `invalid-options` where it cannot be used to begin with
 */
export function htpasswdAccounts(path: string, { clock, tell, read = readWhole }: FileParts): AccountSource {
  let bytes = firstBytes(path);
  const users = firstUsers(bytes, path);
  let accounts = accountsOf(users);
  let checkedAt = clock.monotonic();
  let checking: Promise<void> | undefined;
  let toldError: string | undefined;
  tell({ type: 'htpasswd-read', path, users: users.size });

  const fail = (error: string) => {
    if (error !== toldError) tell({ type: 'htpasswd-failed', path, error });
    toldError = error;
  };

  async function check(): Promise<void> {
    try {
      const now = await read(path);
      if (toldError === undefined && now.equals(bytes)) return;
      const found = parseHtpasswd(now, path);
      accounts = accountsOf(found);
      bytes = now;
      toldError = undefined;
      tell({ type: 'htpasswd-read', path, users: found.size });
    } catch (error) {
      fail(messageOf(error));
    } finally {
      checkedAt = clock.monotonic();
      checking = undefined;
    }
  }

  return () => {
    if (!checking && clock.monotonic() - checkedAt < checkEveryMs) return accounts;
    // One wait for all: once it is over, nobody waits for this reading any more.
    checking ??= inTime(check(), clock, () => fail(`reading it takes longer than ${readWithinMs} ms`));
    return checking.then(() => accounts);
  };
}

function inTime(work: Promise<void>, clock: Clock, late: () => void): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(readWithinMs, () => {
      late();
      resolve();
    });
    void work.then(() => {
      cancel();
      resolve();
    });
  });
}

const accountsOf = (users: Users): Accounts =>
  createAccounts(
    new Map([...users].map(([name, hash]) => [name, { identity: { name }, secret: { kind: 'bcrypt', hash } }])),
  );

function firstUsers(bytes: Uint8Array, path: string): Users {
  try {
    return parseHtpasswd(bytes, path);
  } catch (error) {
    throw wrong(`htpasswd: ${path}: ${messageOf(error)}`, error);
  }
}

// A host sets itself up without waiting: only the first reading is.
function firstBytes(path: unknown): Buffer {
  if (typeof path !== 'string' || path === '') throw wrong('htpasswd: expected the path of a file');
  try {
    checkFile(statSync(path));
    return readFileSync(path);
  } catch (error) {
    const hint = isMissing(error) ? `; make it: htpasswd -cB ${path} USER` : '';
    throw wrong(`htpasswd: ${path}: ${messageOf(error)}${hint}`, error);
  }
}

async function readWhole(path: string): Promise<Buffer> {
  checkFile(await stat(path));
  return readFile(path);
}

// Before it is opened: a pipe would wait there for somebody to write.
function checkFile(stats: { isFile(): boolean; size: number }): void {
  if (!stats.isFile()) throw new Error('it is no regular file');
  if (stats.size > mostBytes) throw new Error(`it has ${stats.size} bytes, more than ${mostBytes}`);
}

const isMissing = (error: unknown) => error instanceof Error && 'code' in error && error.code === 'ENOENT';
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
const wrong = (message: string, cause?: unknown) =>
  new ProxyCacheError('invalid-options', `passwords: ${message}`, { cause });
