import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import { orLate } from '../runtime/or-late.ts';
import type { OpenBlob } from '../store/blob-store.ts';
import { storeFailed } from '../store/events.ts';
import { isIntact } from '../store/is-intact.ts';
import { putAside } from '../store/put-aside.ts';
import type { PullParts } from './pull-parts.ts';

/** A blob of the store, opened. */
export interface StoredBlob {
  digest: Digest;
  blob: OpenBlob;
  /** `clock.now()` when it was opened. */
  openedAt: number;
  /** The later one of two has the higher number. */
  opening: number;
}

/** Opens a blob; `undefined` when it is not there, or cannot be opened. */
export type OpenStored = (digest: Digest, signal: AbortSignal) => Promise<StoredBlob | undefined>;

/**
 * The same blob, or the same opened anew, where it is what its digest says; else `undefined`, and it is closed. It is
 * looked at before its first read after start where `verifyOnRead` wants that, and where it has another size than a
 * repository told, either of which may be wrong. What is wrong goes into quarantine, to be fetched again.
 */
export type CheckStored = (
  stored: StoredBlob,
  /** `told`: its size, as a repository told it. `forBytes`: whether any of it is to be read. */
  request: { told?: number | undefined; forBytes: boolean },
  signal: AbortSignal,
) => Promise<StoredBlob | undefined>;

const mostVerdicts = 50_000;
const putAsideWithinMs = 3_000;

export function createCheckStored(parts: PullParts, open: OpenStored): CheckStored {
  /**
   * Those found right, by digest and size, and since which opening: what was opened before may be what another took the
   * place of.
   */
  const right = new LRUCache<string, number>({ max: mostVerdicts });
  const keyOf = ({ digest, blob }: Pick<StoredBlob, 'digest' | 'blob'>) => `${digest} ${blob.size}`;

  /**
   * Looks at what is stored now, through a handle that no single reader's leaving closes.
   *
   * @returns the number of the opening that was found right; `undefined`: none was
   */
  async function verify(digest: Digest, signal: AbortSignal, isSecond = false): Promise<number | undefined> {
    const stored = await open(digest, signal);
    if (!stored) return undefined;
    try {
      if (await isIntact(stored.blob, digest, { buffers: parts.buffers, signal })) {
        right.set(keyOf(stored), stored.opening);
        return stored.opening;
      }
      // A single read may be at fault itself.
      if (!isSecond) return await verify(digest, signal, true);
      const { blob, openedAt } = stored;
      const flawed = { digest, size: blob.size, reason: 'wrong-bytes', storedUntil: openedAt } as const;
      // Those who wait for the right bytes need not wait for a copy of the wrong ones.
      await orLate(putAside(parts, flawed, signal), { clock: parts.clock, ms: putAsideWithinMs, late: () => false });
    } catch (error) {
      signal.throwIfAborted();
      parts.observe(storeFailed('read', digest, error));
    } finally {
      await stored.blob.close();
    }
    return undefined;
  }

  const check: CheckStored = async (stored, request, signal) => {
    const { digest, blob } = stored;
    const { told, forBytes } = request;
    const wanted = (forBytes && parts.verifyOnRead === 'first') || (told !== undefined && blob.size !== told);
    if (!wanted) return stored;
    const known = right.get(keyOf(stored));
    if (known !== undefined && stored.opening >= known) return stored;
    try {
      const since = known ?? (await parts.checks.join(digest, (all) => verify(digest, all), signal));
      if (since === undefined) return undefined;
    } finally {
      void blob.close();
    }
    const again = await open(digest, signal);
    // Of another size it is another blob: one stored in between.
    return again && check(again, request, signal);
  };
  return check;
}
