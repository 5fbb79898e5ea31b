import type { UpstreamAuth } from '../upstream/credentials.ts';
import type { UpstreamEndpoint, UpstreamOptions } from '../upstream/upstream-options.ts';

/** Options that may hold a secret, as a whole. */
const mayBeSecret = ['auth', 'tls', 'proxy', 'endpoints'] as const;

/** The names of those options that hold a secret's own text: it must not be shown, nor stored as it is. */
export function secretNames(options: UpstreamOptions): readonly (keyof UpstreamOptions)[] {
  return mayBeSecret.filter(
    (name) => name in options && (name === 'endpoints' ? inEndpoints : inEndpoint)(options, name),
  );
}

function inEndpoints({ endpoints = [] }: UpstreamOptions): boolean {
  return endpoints.some((one) => typeof one === 'object' && mayBeSecret.some((name) => inEndpoint(one, name)));
}

function inEndpoint({ auth, tls, proxy }: UpstreamEndpoint, name: string): boolean {
  if (name === 'auth') return isSecret(auth);
  return name === 'tls' ? tls?.key !== undefined : name === 'proxy' && proxy !== undefined && hasUser(proxy);
}

const isSecret = (auth: UpstreamAuth | undefined) =>
  typeof auth === 'object' && ('password' in auth || 'token' in auth);

/** Whether it has anything that others must not get: also by a file, a program or a function. */
export function hasSecret(options: UpstreamOptions): boolean {
  const { auth = 'anonymous', endpoints = [] } = options;
  const isNamed = endpoints.some((one) => typeof one === 'object' && (one.auth ?? 'anonymous') !== 'anonymous');
  return auth !== 'anonymous' || isNamed || secretNames(options).length > 0;
}

/** Whether a URL has a user, and so mostly a password. */
function hasUser(url: string): boolean {
  const { username, password } = new URL(url);
  return username !== '' || password !== '';
}
