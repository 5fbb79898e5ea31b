import type { KeyObject } from 'node:crypto';
import { type Clock, ProxyCacheError } from '@proxycache/core';
import { errors, type JWTHeaderParameters, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import type { TokenParties } from './sign-token.ts';
import type { VerifyingKey } from './token-keys.ts';

/** What a token is verified by. */
export interface VerifyParts extends TokenParties {
  /** The keys that a token of this id and algorithm may be signed with, a few at most. @throws where that cannot be told now */
  findKeys(kid: string | undefined, alg: string): readonly VerifyingKey[] | Promise<readonly VerifyingKey[]>;
  /** Claims that must be there beside `iss`, `aud`, `sub` and `exp`. */
  requires?: readonly string[];
  leewayMs: number;
  clock: Clock;
}

/** What a token holds. */
export type TokenClaims = JWTPayload & { sub: string; exp: number };

/** Node takes no more than 16 KiB of headers; no token of anybody's comes near that. */
export const longestToken = 8192;

/**
 * The claims of a token, whose signature, algorithm, issuer, audience and time are right.
 *
 * @throws ProxyCacheError `unauthenticated`, saying what is wrong with it and nothing of what is in it
 */
export async function verifyToken(token: string, parts: VerifyParts): Promise<TokenClaims> {
  if (token.length > longestToken) throw refused('is too long');
  const keysOf = async ({ kid, alg }: JWTHeaderParameters): Promise<readonly VerifyingKey[]> => {
    const isNamed = kid === undefined || typeof kid === 'string';
    const found = isNamed ? await parts.findKeys(kid, alg) : [];
    // The key says the algorithm, never the token (RFC 8725 3.1).
    return found.filter((key) => key.alg === alg);
  };
  try {
    const payload = await verifyByAny(token, keysOf, {
      issuer: parts.issuer,
      audience: parts.audience,
      requiredClaims: ['sub', 'exp', ...(parts.requires ?? [])],
      clockTolerance: parts.leewayMs / 1000,
      currentDate: new Date(parts.clock.now()),
    });
    if (typeof payload.sub !== 'string') throw refused('names nobody');
    return payload as TokenClaims;
  } catch (error) {
    throw error instanceof errors.JOSEError ? refused(reasonOf(error)) : error;
  }
}

/** The claims by the first of the keys that has signed them; whatever else is wrong with the token is so by any key. */
async function verifyByAny(
  token: string,
  keysOf: (header: JWTHeaderParameters) => Promise<readonly VerifyingKey[]>,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  let left: readonly VerifyingKey[] | undefined;
  const next = async (header: JWTHeaderParameters): Promise<KeyObject | Uint8Array> => {
    const [key, ...others] = left ?? (await keysOf(header));
    left = others;
    if (!key) throw new errors.JWKSNoMatchingKey();
    return key.key;
  };
  for (;;) {
    try {
      return (await jwtVerify(token, next, options)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed) || !left?.length) throw error;
    }
  }
}

function reasonOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return 'has expired; ask for a new one';
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'nbf') return 'is not valid yet; do the clocks agree?';
    if (error.claim === 'aud') return 'is for another service';
    if (error.claim === 'iss') return 'was given by somebody else';
    return `has no ${error.claim} that can be taken`;
  }
  return 'is none that was given for this registry, or was signed with a key that is gone; ask for a new one';
}

const refused = (reason: string) => new ProxyCacheError('unauthenticated', `the token ${reason}`);
