import type { Clock } from '@proxycache/core';
import { type FindKeys, keysById, usableKeys, type VerifyingKey } from './token-keys.ts';
import type { VerifyParts } from './verify-token.ts';
import { withinTime } from './within-time.ts';

interface HeldKeys {
  find: FindKeys;
  /** On the monotonic clock. */
  readAt: number;
}

const freshForMs = 600_000;
/** So that tokens with keys that nobody knows do not ask on and on. */
const askAgainAfterMs = 30_000;
/** How long keys that were read are believed while they cannot be read again. */
const keptForMs = 3_600_000;
const answerWithinMs = 5_000;
/** Who has a key that is still believed waits no longer for those of now: hooks have a deadline. */
const renewedWithinMs = 1_000;
const longestAnswer = 256 * 1024;

/** Finds keys where somebody publishes them: read when they are needed, and kept. @throws while they cannot be read */
export function remoteKeys(
  url: string,
  { fetch: get, clock }: { fetch: typeof fetch; clock: Clock },
): VerifyParts['findKeys'] {
  let held: HeldKeys | undefined;
  let triedAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;

  /** Whoever asked may leave: the answer is for all. */
  const inTime = <T>(work: (until: AbortSignal) => T | Promise<T>, ms: number) =>
    withinTime(work, { signal: new AbortController().signal, ms, clock });

  async function read(): Promise<void> {
    triedAt = clock.monotonic();
    const keys = await inTime((until) => fetchKeys(url, get, until), answerWithinMs);
    held = { find: keysById(keys), readAt: triedAt };
  }

  return async (kid, alg) => {
    const age = clock.monotonic() - (held?.readAt ?? Number.NEGATIVE_INFINITY);
    const found = held && age < keptForMs ? held.find(kid, alg) : [];
    const isFound = found.length > 0;
    if (isFound && age < freshForMs) return found;
    if (!reading && clock.monotonic() - triedAt >= askAgainAfterMs) {
      reading = read().finally(() => {
        reading = undefined;
      });
    }
    try {
      if (isFound) await inTime(() => reading, renewedWithinMs);
      else await reading;
    } catch (error) {
      if (isFound) return found;
      throw error;
    }
    if (!held || clock.monotonic() - held.readAt >= keptForMs) throw new Error('the keys of tokens could not be read');
    return held.find(kid, alg);
  };
}

async function fetchKeys(url: string, get: typeof fetch, signal: AbortSignal): Promise<readonly VerifyingKey[]> {
  try {
    const response = await get(url, { signal, redirect: 'error', headers: { accept: 'application/json' } });
    if (!response.ok) throw new Error(`answered ${response.status}`);
    const jwks = JSON.parse(await readText(response));
    if (!Array.isArray(jwks?.keys)) throw new Error('gave no key set');
    return usableKeys(jwks);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the keys of tokens could not be read from ${new URL(url).host}: ${reason}`, { cause });
  }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > longestAnswer) throw new Error(`gave more than ${longestAnswer} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
