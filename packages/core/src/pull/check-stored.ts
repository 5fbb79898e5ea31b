import type { Digest } from '../oci/digest.ts';
import { orLate } from '../runtime/or-late.ts';
import { createRecent } from '../runtime/recent.ts';
import { storeFailed } from '../store/events.ts';
import { isIntact } from '../store/is-intact.ts';
import { putAside } from '../store/put-aside.ts';
import type { OpenedBlob, SharedBlobs } from '../store/shared-blobs.ts';
import type { PullParts } from './pull-parts.ts';

/** Opens a blob; `undefined` when it is not there, or cannot be opened. */
export type OpenStored = (
  digest: Digest,
  signal: AbortSignal,
  how?: Omit<Parameters<SharedBlobs['share']>[1], 'signal'>,
) => Promise<OpenedBlob | undefined>;

/** What a stored blob is opened for. `told`: its size, as a repository told it. `forBytes`: whether any of it is to be read. */
export interface StoredRequest {
  told?: number | undefined;
  forBytes: boolean;
}

/**
 * The same blob, or the same opened anew, where it is what its digest says; else `undefined`, and it is closed. It is
 * looked at before its first read after start where `verifyOnRead` wants that, and where it has another size than a
 * repository told, either of which may be wrong. What is wrong goes into quarantine, to be fetched again.
 */
export interface CheckStored {
  (stored: OpenedBlob, request: StoredRequest, signal: AbortSignal): Promise<OpenedBlob | undefined>;
  /** Looks at it in any case, as what was read of it was wrong. Never rejects. */
  doubt(digest: Digest): Promise<void>;
  /** Whether it need not be looked at, as far as is known at once. */
  isSettled(stored: OpenedBlob, request: StoredRequest): boolean;
}

/** The first look at a blob, the second at one that was wrong, and one at what is there once that was put aside. */
type Looks = 'first' | 'again' | 'elsewhere';

const mostVerdicts = 50_000;
const putAsideWithinMs = 3_000;

export function createCheckStored(parts: PullParts, open: OpenStored): CheckStored {
  /**
   * Those found right, by digest and size, and since which opening: what was opened before may be what another took the
   * place of.
   */
  const right = createRecent<string, number>(mostVerdicts);
  const keyOf = ({ digest, blob }: OpenedBlob) => `${digest} ${blob.size}`;

  /**
   * Looks at what is stored now, through a handle that no single reader's leaving closes and nobody had before.
   *
   * @returns the number of the opening that was found right; `undefined`: none was
   */
  async function verify(digest: Digest, signal: AbortSignal, looks: Looks = 'first'): Promise<number | undefined> {
    const stored = await open(digest, signal, { anew: true });
    if (!stored) return undefined;
    try {
      if (await isIntact(stored.blob, digest, { buffers: parts.buffers, signal })) {
        right.set(keyOf(stored), stored.opening);
        return stored.opening;
      }
      // A single read may be at fault itself.
      if (looks === 'first') return await verify(digest, signal, 'again');
      const { blob, openedAt } = stored;
      const flawed = { digest, size: blob.size, reason: 'wrong-bytes', storedUntil: openedAt } as const;
      // Those who wait for the right bytes need not wait for a copy of the wrong ones.
      const how = { clock: parts.clock, ms: putAsideWithinMs, late: () => false };
      const isTaken = await orLate(putAside(parts, flawed, signal), how);
      // A store of several tiers may have another copy, which is right.
      if (isTaken && looks === 'again') return await verify(digest, signal, 'elsewhere');
    } catch (error) {
      signal.throwIfAborted();
      parts.observe(storeFailed('read', digest, error));
    } finally {
      await stored.blob.close();
    }
    return undefined;
  }

  async function doubt(digest: Digest): Promise<void> {
    // Closing ends it.
    const { signal } = new AbortController();
    await parts.checks.join(digest, (all) => verify(digest, all), signal).catch(() => undefined);
  }

  function isSettled(stored: OpenedBlob, { told, forBytes }: StoredRequest): boolean {
    if (stored.bytes) return true;
    const isWanted = (forBytes && parts.verifyOnRead === 'first') || (told !== undefined && stored.blob.size !== told);
    if (!isWanted) return true;
    const known = right.get(keyOf(stored));
    return known !== undefined && stored.opening >= known;
  }

  async function check(
    stored: OpenedBlob,
    request: StoredRequest,
    signal: AbortSignal,
    anew = false,
  ): Promise<OpenedBlob | undefined> {
    if (isSettled(stored, request)) return stored;
    const { digest, blob } = stored;
    try {
      const since = right.get(keyOf(stored)) ?? (await parts.checks.join(digest, (all) => verify(digest, all), signal));
      if (since === undefined) return undefined;
    } finally {
      void blob.close();
    }
    // What is shared may have been asked for before the verdict, and be no answer for as long as it is.
    const again = await open(digest, signal, { anew, forBytes: request.forBytes });
    // Of another size it is another blob: one stored in between.
    return again && check(again, request, signal, true);
  }

  return Object.assign(check, { isSettled, doubt });
}
