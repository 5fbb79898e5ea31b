import { readFile, unlink } from 'node:fs/promises';
import { type Digest, parseDigest } from '../oci/digest.ts';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { BlobStore } from './blob-store.ts';
import { orFail, unlessMissing } from './file-system.ts';
import { openBytes } from './open-bytes.ts';

/** Blobs in this process's memory, without a bound: for tests and short lives. */
export function createMemoryBlobs(clock: Clock): BlobStore {
  const blobs = new Map<Digest, { bytes: Uint8Array; storedAt: number }>();

  const keep = (digest: Digest, bytes: Uint8Array) => blobs.set(digest, { bytes, storedAt: clock.now() });

  async function adoptFile(
    digest: Digest,
    { file, size, signal }: { file: string; size: number; signal: AbortSignal },
  ) {
    const bytes = await readFile(file, { signal });
    if (bytes.byteLength !== size) {
      throw new ProxyCacheError('storage-failed', `${file} has ${bytes.byteLength} bytes, not ${size}`);
    }
    await unlink(file).catch(unlessMissing);
    keep(digest, bytes);
  }

  async function remove(
    digest: Digest,
    { unlessStoredAfter = Number.POSITIVE_INFINITY, signal }: { unlessStoredAfter?: number; signal: AbortSignal },
  ): Promise<boolean> {
    signal.throwIfAborted();
    const blob = blobs.get(parseDigest(digest));
    if (!blob || blob.storedAt > unlessStoredAfter) return false;
    return blobs.delete(digest);
  }

  return {
    async open(digest, { signal }) {
      signal.throwIfAborted();
      const blob = blobs.get(parseDigest(digest));
      return blob && openBytes(blob.bytes);
    },
    async adopt({ file, digest, size, signal }) {
      signal.throwIfAborted();
      await adoptFile(parseDigest(digest), { file, size, signal }).catch(
        orFail(`store ${digest} from ${file}`, signal),
      );
    },
    async put({ digest, bytes, signal }) {
      signal.throwIfAborted();
      // The caller may reuse its memory after this.
      keep(parseDigest(digest), Uint8Array.from(bytes));
    },
    delete: remove,
    // In memory nobody can look at it.
    quarantine: remove,
    async *digests({ after, signal }) {
      for (const digest of [...blobs.keys()].sort()) {
        signal.throwIfAborted();
        const blob = blobs.get(digest);
        if (!blob || (after !== undefined && digest <= after)) continue;
        yield { digest, size: blob.bytes.byteLength, storedAt: blob.storedAt };
      }
    },
  };
}
