import {
  type Clock,
  type Duration,
  type Identity,
  ProxyCacheError,
  parseDuration,
  systemClock,
} from '@proxycache/core';
import { type BearerHooks, identityOf, takeBearer } from './bearer-token.ts';
import { remoteKeys } from './remote-keys.ts';
import { type JsonWebKeySet, keysById, keysOfSecrets, readJwks, readSecrets } from './token-keys.ts';
import { rememberTokens } from './token-memory.ts';
import { expectKnown } from './token-options.ts';
import { type TokenClaims, type VerifyParts, verifyToken } from './verify-token.ts';

/** Whose tokens are taken. Exactly one of `jwks` and `secret` says what they are signed with. */
export interface BearerOptions {
  /**
   * Public keys, or the URL where they are published. From there they are read when a token needs them, again after
   * 10 m, and for a key that is not among them, at most every 30 s.
   */
  jwks?: JsonWebKeySet | string;
  /** Shared with who gives the tokens (HS256): 32 bytes or more; of a list all verify, whatever tokens call them. */
  secret?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** Who gives tokens (`iss`). */
  issuer: string;
  /** Whom they must be for (`aud`). */
  audience: string;
  /** Where clients get tokens: its URL goes into challenges. Default: clients have to know. */
  realm?: string;
  /**
   * Who somebody is by the claims of a token that is right; `undefined`: nobody in particular. Default: `sub`, narrowed to
   * the `access` of the Docker token specification where the token has one, with its `attributes`.
   */
  identify?: (claims: TokenClaims) => Identity | undefined;
  /** How far clocks may be apart, up to 1 m. Default: 10 s. */
  leeway?: Duration;
  /** Reads keys from a URL. Default: the global one. */
  fetch?: typeof fetch;
  /** Default: the machine's clock. */
  clock?: Clock;
}

const known = ['jwks', 'secret', 'issuer', 'audience', 'realm', 'identify', 'leeway', 'fetch', 'clock'];

/**
 * Takes the tokens of a token service elsewhere: that of another cache, of a registry, of an identity provider.
 *
 * @throws ProxyCacheError `invalid-options`, without what may be a secret
 */
export function bearer(options: BearerOptions): BearerHooks {
  expectKnown('bearer', options, known);
  const { issuer, audience, realm, identify = identityOf, leeway = '10s', clock = systemClock } = options;
  for (const [name, value] of Object.entries({ issuer, audience })) {
    if (typeof value !== 'string' || value === '') throw wrong(`${name}: expected text that is not empty`);
  }
  if (realm !== undefined && !isUrl(realm)) throw wrong('realm: expected an http(s) URL');
  if (typeof identify !== 'function') throw wrong('identify: expected a function');
  const leewayMs = parseDuration(leeway);
  if (leewayMs > 60_000) throw wrong('leeway: expected a duration up to 60000 ms');
  const parts: VerifyParts = { issuer, audience, leewayMs, clock, findKeys: keysOf(options, clock) };
  return takeBearer({
    verify: rememberTokens((token) => verifyToken(token, parts), parts),
    identify,
    realm: () => realm,
    service: audience,
  });
}

function keysOf({ jwks, secret, fetch = globalThis.fetch }: BearerOptions, clock: Clock): VerifyParts['findKeys'] {
  if ((jwks === undefined) === (secret === undefined)) throw wrong('expected either "jwks" or "secret"');
  if (typeof jwks === 'string') {
    if (!isUrl(jwks)) throw wrong('jwks: expected an http(s) URL, or a key set');
    return remoteKeys(jwks, { fetch, clock });
  }
  if (!jwks) return keysOfSecrets(readSecrets('bearer: secret', secret ?? []).verifying);
  const keys = readJwks('bearer: jwks', jwks);
  if (keys.length === 0) throw wrong('jwks: expected a key that verifies signatures');
  return keysById(keys);
}

/** One that may stand in quotes in a header. */
const isUrl = (text: unknown): boolean =>
  typeof text === 'string' && /^https?:\/\/[^\s"\\]+$/.test(text) && URL.canParse(text);

const wrong = (message: string) => new ProxyCacheError('invalid-options', `bearer: ${message}`);
