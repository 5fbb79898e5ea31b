import { type BcryptHash, readBcryptHash } from './bcrypt-hash.ts';
import { userNameProblem } from './user-name.ts';

const shownProblems = 3;

/**
 * Users and hashes of an htpasswd file, all or none: a file that is half right is half written, or a mistake.
 *
 * @param path as messages name the file
 * @throws Error that names the lines and says what to do, without showing any of what may be a password
 */
export function parseHtpasswd(bytes: Uint8Array, path: string): ReadonlyMap<string, BcryptHash> {
  const users = new Map<string, BcryptHash>();
  const lineOf = new Map<string, number>();
  const problems: string[] = [];
  for (const [at, line] of linesOf(bytes).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const entry = parseLine(line, path);
    const earlier = typeof entry === 'string' ? undefined : lineOf.get(entry.user);
    if (typeof entry === 'string') problems.push(`line ${at + 1}: ${entry}`);
    else if (earlier !== undefined) problems.push(`line ${at + 1}: ${entry.user} is in line ${earlier} already`);
    else {
      users.set(entry.user, entry.hash);
      lineOf.set(entry.user, at + 1);
    }
  }
  if (problems.length > 0) throw new Error(listed(problems));
  if (users.size === 0) throw new Error(`it holds no user; add one: htpasswd -B ${path} USER`);
  return users;
}

function parseLine(line: string, path: string): { user: string; hash: BcryptHash } | string {
  // nginx allows a comment behind a second colon; no hash has one.
  const [user = '', text] = line.split(':');
  if (text === undefined) return 'expected USER:HASH';
  const problem = userNameProblem(user);
  if (problem !== undefined) return problem;
  const hash = readBcryptHash(text.trim());
  return typeof hash === 'string' ? `${user} has ${hash}; make it anew: htpasswd -B ${path} ${user}` : { user, hash };
}

function linesOf(bytes: Uint8Array): string[] {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes).split(/\r?\n/);
  } catch {
    throw new Error('it is not in UTF-8');
  }
}

function listed(problems: readonly string[]): string {
  const rest = problems.length - shownProblems;
  return [...problems.slice(0, shownProblems), ...(rest > 0 ? [`and ${rest} more lines`] : [])].join('; ');
}
