import type { Digest } from '../oci/digest.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { SharedBlobs } from '../store/shared-blobs.ts';
import type { Limit } from './limit.ts';
import type { StoredBytes } from './stored-bytes.ts';

/**
 * The same store, of which is counted what comes and goes. Blobs have their room before they come; manifests, which are small,
 * make some, and are refused where there is none.
 *
 * @param about.limit that of all that is stored. Default: none
 * @param about.freed called when something has gone
 */
export function countedBlobs(
  blobs: SharedBlobs,
  {
    counts,
    limit,
    withinMs,
    freed,
  }: { counts: StoredBytes; limit: Limit | undefined; withinMs: number; freed(): void },
): SharedBlobs {
  function gone(digest: Digest, isGone: boolean): boolean {
    if (isGone) counts.removed(digest);
    if (isGone) freed();
    return isGone;
  }

  return {
    ...blobs,
    async put(blob) {
      const { digest, bytes, signal } = blob;
      const size = bytes.byteLength;
      // What is not counted yet is not waited for: it is little.
      const fits = () => !limit || limit.stored() === undefined || limit.fits(size, limit.maxBytes);
      if (!counts.has(digest)) {
        if (!fits()) await limit?.makeRoom(size, withinMs, signal);
        if (!fits()) throw new ProxyCacheError('quota-exceeded', `${size} bytes more do not fit into maxBytes`);
      }
      // Of many that come together each counts before it is there.
      limit?.take(size);
      try {
        await blobs.put(blob);
        counts.stored(digest, size);
      } finally {
        limit?.take(-size);
      }
    },
    async adopt(blob) {
      await blobs.adopt(blob);
      counts.stored(blob.digest, blob.size);
    },
    async delete(digest, options) {
      return gone(digest, await blobs.delete(digest, options));
    },
    async quarantine(digest, options) {
      return gone(digest, await blobs.quarantine(digest, options));
    },
  };
}
