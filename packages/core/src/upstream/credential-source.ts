import type { Clock } from '../runtime/clock.ts';
import { createFlights } from '../runtime/collapse.ts';
import type { CredentialLoader } from './credential-load.ts';
import type { Credential } from './credentials.ts';
import { redactError } from './redact.ts';
import { UpstreamError } from './upstream-error.ts';

/** A credential in use. */
export interface HeldCredential {
  credential: Credential;
  /** Another one for another credential: part of the key of everything that was had by it. */
  generation: number;
}

/** The current credential of an upstream. */
export interface CredentialSource {
  /**
   * @param refused the generation that was refused: another one is wanted, where there is another one
   * @throws UpstreamError `token-failed` where it cannot be had
   */
  get(query: { refused?: number; signal: AbortSignal }): Promise<HeldCredential>;
}

// A program that fails is not started again for every request.
const failureHold = 5_000;

/**
 * Keeps what a loader gives for as long as it holds. Concurrent calls load once.
 *
 * @param loaded told of each credential as it comes into use
 */
export function createCredentialSource(
  loader: CredentialLoader,
  { clock, key, loaded }: { clock: Clock; key: string; loaded?(credential: Credential): void },
): CredentialSource {
  const flights = createFlights<HeldCredential>();
  let held: { value: HeldCredential; text: string; version: string; until: number } | undefined;
  let failed: { error: UpstreamError; until: number } | undefined;
  let generations = 0;

  async function load(refused: boolean, signal: AbortSignal): Promise<HeldCredential> {
    const version = await loader.version();
    const credential = await loader.load({ refused, signal });
    if (!isCredential(credential)) throw new Error('it is neither {username, password} nor {token}');
    const text = JSON.stringify(credential);
    const value = held?.text === text ? held.value : { credential, generation: ++generations };
    held = { value, text, version, until: clock.monotonic() + loader.holdFor };
    loaded?.(credential);
    failed = undefined;
    return value;
  }

  async function isCurrent(): Promise<boolean> {
    if (!held || clock.monotonic() >= held.until) return false;
    return held.version === (await loader.version());
  }

  function failure(cause: unknown): UpstreamError {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const message = `${key}: its credential could not be had${why && ` (${why})`}; see auth in its options`;
    return new UpstreamError('token-failed', message, { upstream: key, cause: redactError(cause) });
  }

  return {
    async get({ refused, signal }) {
      const isRefused = refused !== undefined && held?.value.generation === refused;
      // What cannot change needs no second look.
      if (held && isRefused && !loader.renewable) return held.value;
      try {
        if (held && !isRefused && (await isCurrent())) return held.value;
      } catch {
        // A file that is gone for a moment is being replaced: what we have may still do.
        if (held) return held.value;
      }
      if (failed && clock.monotonic() < failed.until && !isRefused) {
        if (held) return held.value;
        throw failed.error;
      }
      try {
        return await flights.join('load', (joint) => load(isRefused, joint), signal);
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        failed = { error: failure(error), until: clock.monotonic() + failureHold };
        if (held && !isRefused) return held.value;
        throw failed.error;
      }
    },
  };
}

/** What hosts and programs give is not always what they promised. */
function isCredential(value: unknown): value is Credential {
  if (typeof value !== 'object' || value === null) return false;
  const { username, password, token } = value as Record<string, unknown>;
  return typeof token === 'string' || (typeof username === 'string' && typeof password === 'string');
}
