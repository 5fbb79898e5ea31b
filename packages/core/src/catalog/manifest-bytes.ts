import type { Digest } from '../oci/digest.ts';
import type { Buffers } from '../runtime/buffers.ts';
import { collect } from '../runtime/bytes.ts';
import { readRange } from '../runtime/read-range.ts';
import type { BlobStore } from '../store/blob-store.ts';

/**
 * Reads a manifest out of a store, unverified. `undefined`: it is not there, or longer than any manifest, so that it is a
 * blob.
 *
 * @param options.maxBytes the longest manifest that is taken
 * @throws what the store throws; Error where not all of it came: its hash would say nothing about what is stored
 */
export async function readManifest(
  blobs: Pick<BlobStore, 'open'>,
  digest: Digest,
  { maxBytes, buffers, signal }: { maxBytes: number; buffers: Buffers; signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  const blob = await blobs.open(digest, { signal });
  if (!blob) return undefined;
  try {
    if (blob.size > maxBytes) return undefined;
    const body = blob.kind === 'stream' ? blob.body : readRange(blob, { from: 0, to: blob.size - 1 }, buffers);
    const bytes = await collect(body, maxBytes);
    if (bytes?.byteLength !== blob.size) throw new Error(`not all ${blob.size} bytes of it came`);
    return bytes;
  } finally {
    await blob.close();
  }
}
