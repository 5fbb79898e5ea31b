import { createHash } from 'node:crypto';
import type { UpstreamAuth } from './credentials.ts';

/**
 * Stands for the URL and the identity that proofs were given under: another one voids them. A user's new password does
 * not, as it is the same user; a bearer token is all the identity there is. No secret can be read back from it.
 */
export function generationOf({ url, auth }: { url: string; auth: UpstreamAuth }): string {
  return createHash('sha256')
    .update(`${url}\n${identityOf(auth)}`)
    .digest('base64url')
    .slice(0, 16);
}

function identityOf(auth: UpstreamAuth): string {
  if (auth === 'anonymous') return auth;
  // Whom a provider speaks for is its own business; it is taken to be the same all along.
  if (typeof auth === 'function') return 'provider';
  if ('username' in auth) return `user ${auth.username}`;
  if ('token' in auth) return `token ${auth.token}`;
  if ('helper' in auth) return `helper ${auth.helper}`;
  if ('exec' in auth) return `exec ${auth.exec.join('\n')}`;
  return `files ${auth.usernameFile}`;
}
