import type { Clock, Identity } from '@proxycache/core';
import { createPasswordMemory } from './password-memory.ts';
import type { PasswordVerifier } from './password-verifier.ts';

/** Asks the host's verifier, once for attempts alike at the same time, and remembers only whom it knew. */
export function verifyByHost(
  verify: PasswordVerifier,
  { forMs, clock }: { forMs: number; clock: Clock },
): PasswordVerifier {
  const kindOf = (identity: Identity | undefined) => (identity ? 'success' : 'unkept');
  // Not prolonged: what it knows may change without our knowing.
  const memory = createPasswordMemory({ forMs, clock, kindOf, prolongs: false });
  return (attempt) => memory.recall(attempt, '', async (signal) => verify({ ...attempt, signal }));
}
