import type { Digest } from '../oci/digest.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import type { Bytes } from '../runtime/bytes.ts';

/**
 * A blob opened for reading. `size` is that of the whole blob, in bytes. Whoever opened it closes it, once, also after
 * reading it to the end; `close()` may be called again without harm.
 *
 * - `file`: read at any position, any number of times, concurrently, by several readers: a cache opens it once for all who
 *   want it within a second, and closes it after that, when the last of them has. `read` fills as much of `into` as the blob still
 *   has from `position` on, or less where the rest is slow to come, and gives the number of bytes, 0 only at the end. The
 *   `range` that was asked for is the reader's own business. Local files take this form: core's pooled reader serves them.
 * - `stream`: `body` gives exactly the `range` that was asked for, or all. Reading it to its end or returning from it
 *   does not replace `close()`. Where it was opened whole and has an `elsewhere`, clients may be sent there; what they get is
 *   not seen by the cache.
 *
 * `copies` are for a scrub: see {@link BlobStore.open}. They are closed with it.
 */
export type OpenBlob = { copies?: readonly OpenBlob[] } & (
  | {
      kind: 'file';
      size: number;
      read(into: Uint8Array, position: number): Promise<number>;
      close(): Promise<void>;
    }
  | { kind: 'stream'; size: number; body: Bytes; elsewhere?: BlobLocation; close(): Promise<void> }
);

/** Where clients may get a whole blob, or a range of it, by themselves. */
export interface BlobLocation {
  /** An http(s) URL that whoever has it may read for some minutes, and that answers `Range`. It may be a secret. */
  url(): Promise<string>;
}

/** A stored blob as {@link BlobStore.digests} lists it; `storedAt` in ms since the epoch. */
export interface StoredBlob {
  digest: Digest;
  size: number;
  storedAt: number;
}

/**
 * Content by digest. Digests are verified by core, never here. A blob appears whole or not at all. Every failure is
 * thrown; core goes on without the store then. Every call stops soon after its signal fires.
 */
export interface BlobStore {
  /**
   * Opens a blob in one call, so that a miss is known before a status is sent. `undefined`: not stored.
   *
   * @param options.forBytes `false`: to see whether it is there, and its size. Its bytes will hardly be read, and a store
   *   that would have them sent to it may put that off until they are. Default: true
   * @param options.forScrub `true`: to see whether its bytes are right. A store that keeps copies of blobs, to read those in
   *   their place, opens what they are copies of, with those that it has as its `copies`; it makes none, and counts this as
   *   no use. Of any other store it changes nothing. Default: false
   */
  open(
    digest: Digest,
    options: { range?: ByteRange; forBytes?: boolean; forScrub?: boolean; signal: AbortSignal },
  ): Promise<OpenBlob | undefined>;
  /**
   * Takes a verified local file: gone on success, untouched on a throw. It takes the place of what is stored already,
   * whose bytes may have rotted; readers that have that open are not disturbed.
   */
  adopt(blob: { file: string; digest: Digest; size: number; signal: AbortSignal }): Promise<void>;
  /** Stores small content, such as a manifest, in the place of what is stored already. */
  put(blob: { digest: Digest; bytes: Uint8Array; signal: AbortSignal }): Promise<void>;
  /**
   * Removes a blob; readers that have it open go on or fail, never read other bytes.
   *
   * @param options.unlessStoredAfter an instant in ms since the epoch: what was stored later stays
   * @returns whether a blob was removed
   */
  delete(digest: Digest, options: { unlessStoredAfter?: number; signal: AbortSignal }): Promise<boolean>;
  /**
   * Takes a blob out of sight whose bytes are wrong: from then on it is not stored, as after `delete`, and may be stored
   * anew. Where it can, the store keeps those bytes for a person to look at, a bounded number of them; one that cannot
   * deletes them. Readers that have it open go on or fail. It may look for itself, and leave a copy that is right.
   *
   * @param options.unlessStoredAfter an instant in ms since the epoch: what was stored later stays
   * @param options.size how many bytes it has, where that is known: one that has to be copied may take its time
   * @returns whether a blob was taken out of sight
   */
  quarantine(
    digest: Digest,
    options: { unlessStoredAfter?: number; size?: number; signal: AbortSignal },
  ): Promise<boolean>;
  /** Lists what is stored, in ascending order of the digest as text, after `after` where it is given. */
  digests(options: { after?: Digest; signal: AbortSignal }): AsyncIterable<StoredBlob>;
}
