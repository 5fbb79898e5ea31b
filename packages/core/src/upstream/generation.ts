import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { UpstreamAuth } from './credentials.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/**
 * Stands for the URL and the identity that proofs were given under: another one voids them. A user's new password does
 * not, as it is the same user; a bearer token or a client certificate is all the identity there is. A user's name in a
 * file is read, as it is now. No secret can be read back from it.
 */
export function generationOf({
  url,
  auth,
  tls,
  credentials,
}: Pick<UpstreamSettings, 'url' | 'auth' | 'tls' | 'credentials'>): string {
  const certificate = tls?.cert === undefined ? '' : `\n${tls.cert}`;
  return createHash('sha256')
    .update(`${url}\n${credentials === 'caller' ? 'callers' : identityOf(auth)}${certificate}`)
    .digest('base64url')
    .slice(0, 16);
}

function identityOf(auth: UpstreamAuth): string {
  if (auth === 'anonymous') return auth;
  // Whom a function, a program or a reference speaks for is its own business: each is taken to be the same all along, as
  // many make a name for each credential.
  if (typeof auth === 'function') return 'provider';
  if ('username' in auth) return `user ${auth.username}`;
  if ('token' in auth) return `token ${auth.token}`;
  if ('reference' in auth) return `reference ${auth.reference}`;
  if ('helper' in auth) return `helper ${auth.helper}`;
  if ('exec' in auth) return `exec ${auth.exec.join('\n')}`;
  return `user ${nameIn(auth.usernameFile)}`;
}

function nameIn(file: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch {
    // It may come later; until then nothing can be proved either.
    return `of ${file}`;
  }
}
