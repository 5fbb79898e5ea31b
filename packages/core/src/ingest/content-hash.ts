import type { Hash } from 'node:crypto';
import { createDigestHash, type Digest, digestAlgorithm, finishDigest } from '../oci/digest.ts';
import type { SharedMemory } from './shared-bytes.ts';

/** The first `length` bytes of a blob, hashed. Whoever hashes on takes a copy. */
export interface HashedPrefix {
  readonly length: number;
  readonly hash: ContentHash;
}

/** The hash of what came so far, wherever it is worked out. */
export interface ContentHash {
  /** Takes the next bytes: they must stay as they are for as long as it holds their memory. Default: this call. */
  update(bytes: Uint8Array, memory?: SharedMemory): void;
  /** Resolves when more may be given; `undefined`: at once. Rejects where the digest would. */
  ready(): Promise<void> | undefined;
  copy(): ContentHash;
  /** The digest; the end of it. Rejects where nobody can say, because what worked it out has ended. */
  digest(): Promise<Digest>;
  /** Tells that it is used no more; without harm after its end. What nobody refers to any more is freed in time, too. */
  free(): void;
}

/** A hash worked out here. */
export function createContentHash(digest: Digest): ContentHash {
  const algorithm = digestAlgorithm(digest);
  const of = (hash: Hash): ContentHash => ({
    update(bytes) {
      hash.update(bytes);
    },
    ready: () => undefined,
    copy: () => of(hash.copy()),
    digest: async () => finishDigest(hash, algorithm),
    free: () => undefined,
  });
  return of(createDigestHash(digest));
}

/** Whether both are of the same bytes. */
export async function isSameHash(a: ContentHash, b: ContentHash): Promise<boolean> {
  const [left, right] = await Promise.all([a.copy().digest(), b.copy().digest()]);
  return left === right;
}
