import type { Digest } from '../oci/digest.ts';
import type { SharedBlobs } from '../store/shared-blobs.ts';

/** Whether somebody reads some content, or it comes in, or waits for the store. */
export function isHeld(
  { blobs, isUnderWay }: { blobs: Pick<SharedBlobs, 'isOpen'>; isUnderWay(digest: Digest): boolean },
  digest: Digest,
): boolean {
  return blobs.isOpen(digest) || isUnderWay(digest);
}
