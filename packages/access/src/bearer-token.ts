import { type AccessRequest, type ChallengeQuestion, type Identity, ProxyCacheError } from '@proxycache/core';
import type { AuthenticateScheme } from './any-of.ts';
import { listsCatalog, pullableRepositories } from './scope.ts';
import type { TokenClaims } from './verify-token.ts';

/** What tokens are taken by. */
export interface BearerParts {
  /** @throws ProxyCacheError `unauthenticated` */
  verify(token: string): Promise<TokenClaims>;
  identify(claims: TokenClaims, request: AccessRequest): Identity | undefined;
  /** Where clients get tokens; `undefined`: they have to know. */
  realm(request: AccessRequest): string | undefined;
  service: string;
}

/** The hooks of core that take tokens, as `access` of `createProxyCache` takes them. */
export interface BearerHooks {
  /**
   * Who brings a token.
   *
   * @throws ProxyCacheError `unauthenticated` for a wrong one, other credentials, and on `/v2/` for none where a realm gives them
   */
  authenticate: AuthenticateScheme;
  /** `Bearer`, with realm, service and scope. */
  challenge(question: ChallengeQuestion): string;
}

/** Takes tokens by `Authorization: Bearer` (RFC 6750). */
export function takeBearer({ verify, identify, realm, service }: BearerParts): BearerHooks {
  async function authenticate(request: AccessRequest): Promise<Identity | undefined> {
    const header = request.headers.get('authorization');
    const token = readBearer(header);
    if (token !== undefined) return identify(await verify(token), request);
    if (header !== null && header !== '') throw unauthenticated('expected a Bearer token');
    // docker, podman and skopeo learn from this path alone that tokens are given, also to those without a password.
    if (isPing(request.url) && realm(request) !== undefined) {
      throw unauthenticated('a token is needed, even of nobody: ask the token service for one');
    }
    return undefined;
  }

  return {
    authenticate: Object.assign(authenticate, { scheme: 'Bearer' }),
    challenge({ scope, error, request }) {
      const brought = request.headers.get('authorization');
      // RFC 6750 3.1: a request that brought nothing is not told what is wrong with it. One with a token of nobody is:
      // containerd would bring it again and again, and docker would not speak of `docker login`.
      const wrong = error ?? (readBearer(brought) === undefined ? undefined : 'insufficient_scope');
      const told = brought === null ? undefined : wrong;
      const parameters = Object.entries({ realm: realm(request), service, scope, error: told });
      return `Bearer ${parameters.flatMap(([name, value]) => (value === undefined ? [] : `${name}="${value}"`)).join(',')}`;
    },
  };
}

/** The token; `undefined`: none is there, but perhaps credentials of another scheme. */
function readBearer(header: string | null): string | undefined {
  // RFC 9110 11.1: the name of a scheme has no case.
  return header !== null && /^bearer(?: |$)/i.test(header) ? header.slice('bearer'.length).trim() : undefined;
}

/** Who brings a token with these claims, narrowed to what it is good for here; `undefined`: it is of nobody. */
export function identityOf(claims: TokenClaims, { url }: Pick<AccessRequest, 'url'>): Identity | undefined {
  if (claims.sub === '') return undefined;
  const { access, attributes } = claims as TokenClaims & Pick<Identity, 'attributes'>;
  // The list of repositories has a scope of its own; one that has it is not narrowed to what else the token is good for.
  const isWhole = splitUrl(url).path === '/v2/_catalog' && listsCatalog(access);
  const repositories = isWhole ? undefined : pullableRepositories(access);
  return {
    name: claims.sub,
    ...(repositories !== undefined && { repositories }),
    ...(typeof attributes === 'object' && attributes !== null && { attributes }),
  };
}

/** Path and query apart. */
export function splitUrl(url: string): { path: string; query: string } {
  const at = url.indexOf('?');
  return at < 0 ? { path: url, query: '' } : { path: url.slice(0, at), query: url.slice(at + 1) };
}

const unauthenticated = (message: string) => new ProxyCacheError('unauthenticated', message);

/** Whether a request only asks if there is a registry, and how to log in to it. */
const isPing = (url: string): boolean => /^\/v2\/?$/.test(splitUrl(url).path);
