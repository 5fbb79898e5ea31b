import { type AccessRequest, type Identity, ProxyCacheError } from '@proxycache/core';
import type { AuthenticateScheme } from './any-of.ts';
import { readBasicCredentials } from './basic-credentials.ts';
import { type PasswordOptions, passwordVerifier } from './password-options.ts';
import { quotedString } from './quoted-string.ts';

/** What {@link basic} takes. */
export interface BasicOptions extends PasswordOptions {
  /** What clients may show where they ask for a password. Default: `proxycache`. */
  realm?: string;
}

/** Hooks of `access` that know who asks by HTTP Basic. */
export interface BasicAccess {
  authenticate: AuthenticateScheme;
  challenge: () => string;
}

/**
 * HTTP Basic (RFC 7617) against an htpasswd file, fixed users or a function of the host. Requests without credentials are
 * nobody's; those with others, or with wrong ones, are refused with 401.
 *
 * @throws ProxyCacheError `invalid-options`, without any password
 */
export function basic(given: BasicOptions): BasicAccess {
  if (typeof given !== 'object' || given === null) {
    throw new ProxyCacheError('invalid-options', 'basic: expected an object with htpasswd, users or verify');
  }
  const { realm = 'proxycache', ...options } = given;
  // RFC 7617 2.1: the one value that there is; clients that know it send what is not ASCII in UTF-8.
  const challenge = `Basic realm=${quotedString('basic: realm', realm)}, charset="UTF-8"`;
  const verify = passwordVerifier(options);

  async function authenticate(request: AccessRequest): Promise<Identity | undefined> {
    const said = readBasicCredentials(request.headers.get('authorization'));
    if (said.kind === 'none') return undefined;
    if (said.kind === 'foreign') throw unauthenticated('expected a user name and password (Basic)');
    if (said.kind === 'malformed') throw unauthenticated(said.message);
    const { user, password } = said;
    const identity = await verify({
      user,
      password,
      // Creating a request's signal is dear, and what is remembered needs none.
      get signal() {
        return request.signal;
      },
    });
    if (!identity) throw unauthenticated('wrong user name or password');
    return identity;
  }

  return { authenticate: Object.assign(authenticate, { scheme: 'Basic' }), challenge: () => challenge };
}

const unauthenticated = (message: string) => new ProxyCacheError('unauthenticated', message);
