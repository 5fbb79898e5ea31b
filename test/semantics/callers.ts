import { type AccessRequest, type Identity, ProxyCacheError } from '@proxycache/core';

/** Headers of somebody who logs in; the password is the name's own. */
export const as = (user: string, password = `pa55-of-${user}`) => ({
  headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` },
});

/** Believes those whose password is the one that {@link as} gives. */
export function authenticate({ headers }: AccessRequest): Identity | undefined {
  const header = headers.get('authorization');
  if (header === null) return undefined;
  const [user = '', password] = Buffer.from(header.slice('Basic '.length), 'base64').toString().split(':');
  if (password === `pa55-of-${user}`) return { name: user };
  throw new ProxyCacheError('unauthenticated', 'wrong user or password');
}
