import { type Answer, type Exchange, ociError } from './answer.ts';
import type { FakeHost } from './fake-host.ts';
import type { Refusal } from './personality.ts';
import { basicOf, type FakeUser, type TokenService, type TokenServiceOptions } from './token-service.ts';

/** Bearer tokens of a token service at `/token`. */
export interface BearerAuth extends TokenServiceOptions {
  /** The host that gives the tokens, by its own `/token`. Default: the registry itself. */
  at?: FakeHost;
  /** The realm told in challenges. Default: the URL of the token service. */
  realm?: string;
  /** Default: the registry's host and port. */
  service?: string;
}

/** Names and passwords: one, or several with rights of their own. */
export type BasicAuth = { username: string; password: string } | { users: Readonly<Record<string, FakeUser>> };

/** What a fake registry asks of its callers. */
export type FakeAuth = 'none' | { basic: BasicAuth } | { bearer: BearerAuth };

/** Decides whether a request may pass. `repository` is `undefined` for the ping. */
export interface Guard {
  check(request: Exchange, repository: string | undefined): 'granted' | Refusal;
  /** The value of `WWW-Authenticate`; `undefined` where there is none to give. */
  challenge(repository: string | undefined, refusal: Refusal): string | undefined;
}

/** Lets everybody in. */
export const openGuard: Guard = { check: () => 'granted', challenge: () => undefined };

/** Asks for a name and password (RFC 7617). */
export function basicGuard(wanted: BasicAuth, realm: string): Guard {
  const users = 'users' in wanted ? wanted.users : { [wanted.username]: { password: wanted.password } };
  return {
    check({ headers }, repository) {
      if (headers.authorization === undefined) return 'none';
      const [name = '', password] = basicOf(headers.authorization) ?? [];
      const user: FakeUser | undefined = Object.hasOwn(users, name) ? users[name] : undefined;
      if (!user || user.password !== password) return 'invalid';
      const { repositories = 'all' } = user;
      return repository === undefined || repositories === 'all' || repositories.includes(repository)
        ? 'granted'
        : 'scope';
    },
    challenge: () => `Basic realm="${realm}"`,
  };
}

/** Asks for a token (RFC 6750 3) that holds the repository. */
export function bearerGuard(tokens: TokenService, told: { realm: string; service: string }): Guard {
  return {
    check({ headers }, repository) {
      if (headers.authorization === undefined) return 'none';
      const verdict = tokens.inspect(/^bearer +(.+)$/i.exec(headers.authorization)?.[1] ?? '');
      if (verdict === 'unknown') return 'invalid';
      if (verdict === 'expired') return 'expired';
      return repository === undefined || verdict.repositories.has(repository) ? 'granted' : 'scope';
    },
    challenge(repository, refusal) {
      const parts = [`realm="${told.realm}"`, `service="${told.service}"`];
      if (repository !== undefined) parts.push(`scope="repository:${repository}:pull"`);
      if (refusal === 'scope') parts.push('error="insufficient_scope"');
      else if (refusal !== 'none') parts.push('error="invalid_token"');
      return `Bearer ${parts.join(',')}`;
    },
  };
}

/** 401, with a challenge where there is one. */
export function unauthorized(challenge: string | undefined): Answer {
  const headers = challenge === undefined ? undefined : { 'www-authenticate': challenge };
  return ociError(401, 'UNAUTHORIZED', 'authentication required', headers);
}
