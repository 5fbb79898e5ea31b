import { createHash, type Hash } from 'node:crypto';
import { ProxyCacheError } from '../runtime/errors.ts';

/** A content address, `<algorithm>:<hex>` (OCI image-spec, descriptor.md#digests). Only registered algorithms pass. */
export type Digest = `${string}:${string}`;

const hexLength: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/** Whether the text is a sha256 or sha512 digest in its canonical, lowercase form. */
export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(':');
  const length = hexLength[text.slice(0, colon)];
  if (length === undefined || text.length !== colon + 1 + length) return false;
  // Not a loop over the characters: V8 would optimize it in the middle of an early pull, which takes 1 ms.
  const hex = text.slice(colon + 1);
  return Buffer.from(hex, 'hex').toString('hex') === hex;
}

/** @throws ProxyCacheError `digest-invalid` */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new ProxyCacheError(
    'digest-invalid',
    `expected sha256: or sha512: with lowercase hex, received ${JSON.stringify(text.slice(0, 150))}`,
  );
}

/** `sha256` or `sha512`. */
export function digestAlgorithm(digest: Digest): string {
  return digest.slice(0, digest.indexOf(':'));
}

/** The part after the colon. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** A running hash of the digest's own algorithm; compare with {@link finishDigest}. */
export function createDigestHash(digest: Digest): Hash {
  return createHash(digestAlgorithm(digest));
}

/** Ends a hash of {@link createDigestHash} and gives the digest of what it saw. The hash cannot say its own algorithm. */
export function finishDigest(hash: Hash, algorithm: string): Digest {
  return `${algorithm}:${hash.digest('hex')}`;
}

/** The digest of bytes at hand. */
export function digestOf(bytes: Uint8Array, algorithm = 'sha256'): Digest {
  return finishDigest(createHash(algorithm).update(bytes), algorithm);
}
