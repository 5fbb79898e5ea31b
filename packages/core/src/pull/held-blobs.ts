import type { Digest } from '../oci/digest.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

/**
 * Opens a blob that can be answered without anything being read, written or asked, and may be kept to look again.
 * `undefined` says nothing: it is to be pulled. What it gives is what a pull would give.
 */
export type HeldBlob = () => { bytes: Uint8Array; close(): Promise<void> } | undefined;

/** Blobs that are open, and in memory. */
export type HeldBlobs = (target: Target, digest: Digest) => HeldBlob;

const none: HeldBlob = () => undefined;

export function createHeldBlobs({ links, blobs }: Pick<PullParts, 'links' | 'blobs'>): HeldBlobs {
  return ({ place, upstream }, digest) => {
    // Whoever handles it looks first whose answer it would be, and tells who is refused.
    if (upstream.callerOf || upstream.names?.reasonAgainst(place.repository) !== undefined) return none;
    const findLink = links.lookup(place, 'blob', digest);
    return () => {
      const link = findLink();
      const held = link && blobs.held(digest);
      if (!held) return undefined;
      const { bytes, blob } = held;
      // Of a size that was not told, or is another, whoever handles it writes down the right one.
      if (bytes && link.size === bytes.byteLength) return { bytes, close: () => blob.close() };
      void blob.close();
      return undefined;
    };
  };
}
