import type { Digest } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import type { BlobStore } from './blob-store.ts';
import { isIntact } from './is-intact.ts';

type Quarantine = BlobStore['quarantine'];

/**
 * Takes wrong bytes out of both tiers. They may have rotted in one of them alone, which nobody who read them can tell: what
 * each has is read for itself, and stays where it is right.
 *
 * @param tiers.ended called when the remote store's was taken
 * @returns whether any was taken
 * @throws what a store throws, where none was: one that fails keeps nothing from the other
 */
export async function quarantineTiers(
  tiers: { local: BlobStore; remote: BlobStore; ended(): void },
  ...[digest, options]: Parameters<Quarantine>
): Promise<boolean> {
  const { local, remote, ended } = tiers;
  const { unlessStoredAfter: _, ...always } = options;
  const { signal } = options;
  // One that cannot be read is of no use.
  const isHereWrong = await isWrong(local, digest, signal).catch(() => true);
  signal.throwIfAborted();
  // A copy may be younger than what it is a copy of, and was looked at just now.
  const [here] = await Promise.allSettled([isHereWrong && local.quarantine(digest, always)]);
  signal.throwIfAborted();
  const isGoneHere = here.status === 'fulfilled' && here.value;
  try {
    if (await isWrong(remote, digest, signal)) {
      const there = await remote.quarantine(digest, options);
      if (there) ended();
      // By its own instants the remote store may have spared it: what is still to be seen was not taken.
      if (there || here.status === 'fulfilled') return there;
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!isGoneHere) throw error;
  }
  if (here.status === 'rejected') throw here.reason;
  return isGoneHere;
}

async function isWrong(blobs: BlobStore, digest: Digest, signal: AbortSignal): Promise<boolean> {
  const blob = await blobs.open(digest, { forScrub: true, signal });
  if (!blob) return false;
  try {
    for (const one of [blob, ...(blob.copies ?? [])])
      if (!(await isIntact(one, digest, { buffers: createBuffers(0), signal }))) return true;
    return false;
  } finally {
    await blob.close();
  }
}
