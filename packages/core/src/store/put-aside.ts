import type { Digest } from '../oci/digest.ts';
import type { BlobStore } from './blob-store.ts';
import { type BlobFlaw, type StoreEvent, storeFailed } from './events.ts';

/** A blob of no use. */
export interface FlawedBlob {
  digest: Digest;
  size: number;
  reason: BlobFlaw;
  /** What was stored after this instant, in ms since the epoch, is another one. */
  storedUntil: number;
}

/**
 * Takes a blob of no use out of sight, and tells. A store that cannot is reported.
 *
 * @returns whether it was taken: another may have come first, or it was stored anew
 * @throws only the signal's reason
 */
export async function putAside(
  { blobs, observe }: { blobs: BlobStore; observe(event: StoreEvent): void },
  { digest, size, reason, storedUntil }: FlawedBlob,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const taken = await blobs.quarantine(digest, { unlessStoredAfter: storedUntil, size, signal });
    if (taken) observe({ type: 'blob-quarantined', digest, size, reason });
    return taken;
  } catch (error) {
    signal.throwIfAborted();
    observe(storeFailed('quarantine', digest, error));
    return false;
  }
}
