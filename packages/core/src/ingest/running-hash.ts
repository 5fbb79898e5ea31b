import type { Hash } from 'node:crypto';
import { createDigestHash, type Digest, digestAlgorithm, finishDigest } from '../oci/digest.ts';

/** The first `length` bytes of a blob, hashed. Whoever hashes on takes a copy. */
export interface HashedPrefix {
  readonly length: number;
  readonly hash: Hash;
}

/** The hash of a transfer, which can go back to a byte before: for those who go on by themselves from there. */
export interface RunningHash {
  /** Takes the next chunk. */
  update(chunk: Uint8Array): void;
  /** Tells that it need not go back further than `position`. */
  settle(position: number): void;
  /** The latest it can go back to, at or before what was settled. */
  settled(): HashedPrefix;
  /** The digest of all; the end of it. */
  finish(): Digest;
}

// Copying the state costs a few microseconds.
const stepBytes = 1024 * 1024;

export function createRunningHash(digest: Digest): RunningHash {
  const hash = createDigestHash(digest);
  let length = 0;
  let last: HashedPrefix = { length: 0, hash: hash.copy() };
  const marks: [HashedPrefix, ...HashedPrefix[]] = [last];
  return {
    update(chunk) {
      hash.update(chunk);
      length += chunk.byteLength;
      if (length - last.length < stepBytes) return;
      last = { length, hash: hash.copy() };
      marks.push(last);
    },
    settle(position) {
      while (marks[1] && marks[1].length <= position) marks.shift();
    },
    settled: () => marks[0],
    finish: () => finishDigest(hash, digestAlgorithm(digest)),
  };
}
