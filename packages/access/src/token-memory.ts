import { hash } from 'node:crypto';
import type { Clock } from '@proxycache/core';
import { LRUCache } from 'lru-cache';
import { longestToken, type TokenClaims } from './verify-token.ts';

/** Verifies a token. @throws ProxyCacheError `unauthenticated` */
type Verify = (token: string) => Promise<TokenClaims>;

const mostTokens = 1000;
/** A key that its owner withdraws counts for so long at most. */
const heldForMs = 60_000;

/**
 * The same, but what was right is not verified again for a while: a client brings one token with every request of a pull,
 * and a signature costs several times what an answer from memory does. What was wrong is not remembered.
 */
export function rememberTokens(verify: Verify, { clock, leewayMs }: { clock: Clock; leewayMs: number }): Verify {
  const known = new LRUCache<string, { claims: TokenClaims; checkedAt: number }>({ max: mostTokens });

  function isCurrent({ exp, nbf = 0 }: TokenClaims): boolean {
    const now = Math.floor(clock.now() / 1000);
    return exp > now - leewayMs / 1000 && nbf <= now + leewayMs / 1000;
  }

  return async (token) => {
    if (token.length > longestToken) return verify(token);
    // By its hash, so that no token stays in memory.
    const key = hash('sha256', token, 'base64');
    const held = known.get(key);
    if (held && clock.monotonic() - held.checkedAt < heldForMs && isCurrent(held.claims)) return held.claims;
    const claims = await verify(token);
    known.set(key, { claims, checkedAt: clock.monotonic() });
    return claims;
  };
}
