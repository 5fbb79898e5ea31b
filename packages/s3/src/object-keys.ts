import { type Digest, isDigest, parseDigest } from '@proxycache/core';

/**
 * Where objects are. Keys of blobs are in the order of their digests as text: `blobs/sha256/<hex>` stands to
 * `blobs/sha512/<hex>` as the digests to one another.
 */
export interface ObjectKeys {
  /** What the keys of all blobs begin with, and of nothing else. */
  readonly blobs: string;
  /** What the keys of all that was put aside begin with. */
  readonly quarantined: string;
  /** @throws ProxyCacheError `digest-invalid` */
  blob(digest: Digest): string;
  /** The digest of a blob's key; `undefined` for objects that are not of this store. */
  digest(key: string): Digest | undefined;
  quarantine(digest: Digest, at: number): string;
}

/** @param prefix ends in "/", or is empty */
export function objectKeys(prefix: string): ObjectKeys {
  const blobs = `${prefix}blobs/`;
  const quarantined = `${prefix}quarantine/`;
  const named = (digest: Digest) => parseDigest(digest).replace(':', '/');
  return {
    blobs,
    quarantined,
    blob: (digest) => `${blobs}${named(digest)}`,
    digest(key) {
      const text = key.startsWith(blobs) ? key.slice(blobs.length).replace('/', ':') : '';
      return isDigest(text) ? text : undefined;
    },
    quarantine: (digest, at) => `${quarantined}${named(digest)}.${at}`,
  };
}
