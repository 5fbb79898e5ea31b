import type { Digest } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import type { BlobStore } from './blob-store.ts';
import { isIntact } from './is-intact.ts';

type Quarantine = BlobStore['quarantine'];

/**
 * Takes wrong bytes out of both tiers. They may have rotted on the local disk alone, which nobody who read them can tell:
 * what the remote store has is read for itself, and stays where it is right.
 *
 * @param tiers.ended called when the remote store's was taken
 * @returns whether any was taken
 * @throws what the remote store throws, where none was
 */
export async function quarantineTiers(
  tiers: { local: BlobStore; remote: BlobStore; ended(): void },
  ...[digest, options]: Parameters<Quarantine>
): Promise<boolean> {
  const { local, remote, ended } = tiers;
  const here = await local.quarantine(digest, options);
  try {
    if (!(await isWrong(remote, digest, options.signal))) return here;
    const there = await remote.quarantine(digest, options);
    if (there) {
      ended();
      // A copy may be younger than what it is a copy of.
      if (!here) await local.quarantine(digest, { signal: options.signal });
    }
    // By its own instants the remote store may have spared it: what is still to be seen was not taken.
    return there;
  } catch (error) {
    options.signal.throwIfAborted();
    if (here) return true;
    throw error;
  }
}

async function isWrong(blobs: BlobStore, digest: Digest, signal: AbortSignal): Promise<boolean> {
  const blob = await blobs.open(digest, { signal });
  if (!blob) return false;
  try {
    return !(await isIntact(blob, digest, { buffers: createBuffers(0), signal }));
  } finally {
    await blob.close();
  }
}
