import { isProxyCacheError, ProxyCacheError } from '@proxycache/core';

/**
 * What checking a password threw, without that password: core takes out what came in a header, and knows nothing of forms.
 */
export function withoutPassword(error: unknown, { user, password }: { user: string; password: string }): unknown {
  const said = error instanceof Error ? error.message : String(error);
  const secrets = [password, Buffer.from(`${user}:${password}`).toString('base64')];
  if (!secrets.some((secret) => said.includes(secret))) return error;
  // A mark first: a password may be a letter of what stands in its place.
  const shown = secrets.reduce((text, secret) => text.replaceAll(secret, '\0'), said).replaceAll('\0', '[redacted]');
  return isProxyCacheError(error) ? new ProxyCacheError(error.code, shown) : new Error(shown);
}
