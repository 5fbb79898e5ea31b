import { randomUUID } from 'node:crypto';
import type { Identity } from '@proxycache/core';
import { SignJWT } from 'jose';
import type { AccessEntry } from './scope.ts';
import type { ServiceKeys } from './token-keys.ts';

/** What a token says. */
export interface TokenFacts {
  /** Whom it is for; empty: nobody in particular. */
  subject: string;
  access: readonly AccessEntry[];
  attributes: Identity['attributes'];
  /** Seconds since the epoch. */
  issuedAt: number;
  expiresAt: number;
}

/** Who gives tokens, and for what. */
export interface TokenParties {
  issuer: string;
  audience: string;
}

/** They go with each request. */
const longestAttributes = 2048;

/**
 * Makes a JSON Web Token in the form of the Docker token specification.
 *
 * @throws Error for attributes that are too long for a token
 */
export async function signToken(
  { subject, access, attributes, issuedAt, expiresAt }: TokenFacts,
  { issuer, audience }: TokenParties,
  { signing: { alg, kid, key } }: ServiceKeys,
): Promise<string> {
  if (attributes !== undefined && JSON.stringify(attributes).length > longestAttributes) {
    throw new Error(`the attributes of ${subject} are longer than ${longestAttributes} characters as JSON`);
  }
  return new SignJWT({ access, ...(attributes !== undefined && { attributes }) })
    .setProtectedHeader({ alg, kid, typ: 'JWT' })
    .setIssuer(issuer)
    .setSubject(subject)
    .setAudience(audience)
    .setIssuedAt(issuedAt)
    .setNotBefore(issuedAt)
    .setExpirationTime(expiresAt)
    .setJti(randomUUID())
    .sign(key);
}
