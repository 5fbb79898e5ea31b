import {
  type HandleBeside,
  type HttpRequest,
  type HttpResponse,
  type Identity,
  isProxyCacheError,
} from '@proxycache/core';
import { type BearerHooks, identityOf, splitUrl, takeBearer } from './bearer-token.ts';
import { grantScopes } from './scope.ts';
import { signToken } from './sign-token.ts';
import { json, refusalAnswer, refuseToken, type TokenRefusal, tokenAnswer } from './token-answer.ts';
import { keysById } from './token-keys.ts';
import { rememberTokens } from './token-memory.ts';
import { checkTokenOptions, type TokenServiceOptions, type TokenSettings } from './token-options.ts';
import { readTokenRequest, type TokenRequest } from './token-request.ts';
import { longestToken, verifyToken } from './verify-token.ts';
import { withinTime } from './within-time.ts';
import { withoutPassword } from './without-password.ts';

/** The parts of a token service, as `access` of `createProxyCache` takes them. */
export interface TokenService extends BearerHooks {
  /** Answers `GET` and `POST` of its path, and `GET <path>/jwks` where it signs with a private key. */
  handle: HandleBeside;
}

/**
 * A token service (Docker token specification, and its OAuth2 variant): gives whoever brings the right password a token
 * for the repositories that were asked for, and lets in who brings such a token. It keeps nothing: replicas with the
 * same keys take one another's tokens.
 *
 * A token says who somebody is; what they may do `authorize` says, at each request.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function tokenService(options: TokenServiceOptions): TokenService {
  const settings = checkTokenOptions(options);
  const { origin, service, issuer, path, keys, leewayMs, clock } = settings;
  const parts = {
    ...{ issuer, audience: service, leewayMs, clock },
    findKeys: keysById(keys.verifying),
    // What our own always have; without `access` a token would not be narrowed.
    requires: ['iat', 'nbf', 'jti', 'access'],
  };
  const hooks = takeBearer({
    verify: rememberTokens((token) => verifyToken(token, parts), parts),
    identify: identityOf,
    // By the mount point that the host set up: nothing of what the client sent.
    realm: ({ basePath }) => `${origin}${basePath}${path}`,
    service,
  });

  async function handle(request: HttpRequest): Promise<HttpResponse | undefined> {
    const { path: asked, query } = splitUrl(request.url);
    if (asked === `${path}/jwks` && keys.published && request.method === 'GET') {
      return json(200, keys.published, { 'cache-control': 'public, max-age=300' });
    }
    if (asked !== path) return undefined;
    const answer = await giveToken(request, query, settings);
    return 'error' in answer ? refusalAnswer(answer, service) : answer;
  }

  // A full cache refuses these with 503: a 404 from where tokens are given, clients take for good.
  function owns(url: string): boolean {
    const { path: asked } = splitUrl(url);
    return asked === path || (asked === `${path}/jwks` && keys.published !== undefined);
  }

  return { ...hooks, handle: Object.assign(handle, { owns }) };
}

const tooMuch = 'these are more repositories than one token can be for';

async function giveToken(
  request: HttpRequest,
  query: string,
  settings: TokenSettings,
): Promise<HttpResponse | TokenRefusal> {
  const { service, issuer, keys, clock } = settings;
  if (request.method !== 'GET' && request.method !== 'POST') return refuseToken('method', 'expected GET or POST');
  const asked = await readTokenRequest(request, query);
  if ('error' in asked) return asked;
  if (asked.service !== undefined && asked.service !== service) {
    return refuseToken('invalid_target', `tokens are given here for ${service} and no other service`);
  }
  const known = await identify(asked, request, settings);
  if ('error' in known) return known;
  const { name, attributes, repositories } = known.identity;
  const access = grantScopes(asked.scopes, repositories);
  if (!access) return refuseToken('invalid_scope', tooMuch);
  const issuedAt = Math.floor(clock.now() / 1000);
  const facts = { subject: name, access, attributes, issuedAt, expiresAt: issuedAt + settings.lifetime };
  const token = await signToken(facts, { issuer, audience: service }, keys);
  // No cache would look at it: see verifyToken.
  if (token.length > longestToken) return refuseToken('invalid_scope', tooMuch);
  return tokenAnswer({ token, access, issuedAt, lifetime: settings.lifetime });
}

/** Who asks; without a name where nobody in particular does. */
async function identify(
  { credentials }: TokenRequest,
  { signal }: HttpRequest,
  { verify, anonymous, withinMs, clock }: TokenSettings,
): Promise<{ identity: Identity } | TokenRefusal> {
  if (!credentials) {
    return anonymous
      ? { identity: { name: '' } }
      : refuseToken('invalid_client', 'log in first: no token is given without a password');
  }
  try {
    const identity = await withinTime((until) => verify({ ...credentials, signal: until }), {
      signal,
      ms: withinMs,
      clock,
    });
    // Of a text, `includes` would find any part.
    if (identity?.repositories !== undefined && !Array.isArray(identity.repositories)) {
      throw new Error("expected an identity's repositories to be a list of names");
    }
    return identity ? { identity } : refuseToken('invalid_grant', 'incorrect username or password');
  } catch (cause) {
    const error = withoutPassword(cause, credentials);
    // The verifier's own words why: a password longer than bcrypt reads, say.
    if (isProxyCacheError(error) && error.code === 'unauthenticated')
      return refuseToken('invalid_grant', error.message);
    throw error;
  }
}
