import { readFile, unlink } from 'node:fs/promises';
import { type BlobStore, type Bytes, type Digest, ProxyCacheError, parseDigest } from '@proxycache/core';

const chunkBytes = 256 * 1024;

/** A blob store in memory that forgets what was read longest ago once it holds more than `maxBytes`. */
export function lruBlobs({ maxBytes }: { maxBytes: number }): BlobStore {
  // A Map keeps the order of insertion: what is used is put at its end again, so that the first is the oldest.
  const blobs = new Map<Digest, { bytes: Uint8Array; storedAt: number }>();
  let held = 0;

  function drop(digest: Digest): boolean {
    held -= blobs.get(digest)?.bytes.byteLength ?? 0;
    return blobs.delete(digest);
  }

  function keep(digest: Digest, bytes: Uint8Array): void {
    drop(digest);
    blobs.set(digest, { bytes, storedAt: Date.now() });
    held += bytes.byteLength;
    for (const oldest of blobs.keys()) {
      if (held <= maxBytes) break;
      drop(oldest);
    }
  }

  // What cannot be stored is thrown: the cache serves the blob all the same and goes on without us.
  function checkSize(size: number): void {
    if (size > maxBytes) throw new ProxyCacheError('storage-full', `a blob of ${size} bytes is over ${maxBytes} bytes`);
  }

  async function remove(
    digest: Digest,
    { unlessStoredAfter = Number.POSITIVE_INFINITY, signal }: { unlessStoredAfter?: number; signal: AbortSignal },
  ): Promise<boolean> {
    signal.throwIfAborted();
    const blob = blobs.get(digest);
    return blob !== undefined && blob.storedAt <= unlessStoredAfter && drop(digest);
  }

  return {
    async open(digest, { range, signal }) {
      signal.throwIfAborted();
      const blob = blobs.get(digest);
      if (!blob) return undefined;
      blobs.delete(digest);
      blobs.set(digest, blob);
      const { bytes } = blob;
      const part = range ? bytes.subarray(range.from, range.to + 1) : bytes;
      // The reader holds the bytes, whatever becomes of the entry: there is nothing to close.
      return { kind: 'stream', size: bytes.byteLength, body: chunksOf(part), close: async () => undefined };
    },
    async adopt({ file, digest, size, signal }) {
      parseDigest(digest);
      checkSize(size);
      const bytes = await readFile(file, { signal }).catch((error) => {
        throw signal.aborted ? signal.reason : error;
      });
      await unlink(file);
      keep(digest, bytes);
    },
    async put({ digest, bytes, signal }) {
      signal.throwIfAborted();
      checkSize(bytes.byteLength);
      keep(parseDigest(digest), Uint8Array.from(bytes));
    },
    delete: remove,
    // A store on a disk would put wrong bytes aside; here nobody could look at them.
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

// Copies: a chunk is its reader's to change.
async function* chunksOf(bytes: Uint8Array): Bytes {
  for (let at = 0; at < bytes.byteLength; at += chunkBytes) yield bytes.slice(at, at + chunkBytes);
}
