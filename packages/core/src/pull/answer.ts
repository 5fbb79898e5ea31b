import type { UncachedReason } from '../ingest/is-local.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import type { Bytes } from '../runtime/bytes.ts';

/** How an answer came about, in the words of RFC 9211. `hit` excludes the `fwd` words. */
export interface CacheStatus {
  hit: boolean;
  fwd?: 'miss' | 'stale' | 'uri-miss' | 'partial';
  /** What the upstream answered, where it was asked. */
  fwdStatus?: number;
  stored?: boolean;
  collapsed?: boolean;
  detail?: string;
}

/** The {@link CacheStatus.detail} of bytes that are passed on before anybody could verify them. */
export const unverifiedDetail = 'unverified';

/** A manifest, or what is known of it. */
export interface ManifestAnswer {
  descriptor: Descriptor;
  /** Absent where the manifest is only known: such an answer is for HEAD. */
  bytes?: Uint8Array;
  byTag: boolean;
  /** When the upstream last confirmed the tag, in ms since the epoch: `Age` counts from here. */
  validatedAt?: number;
  /** What the client should be told, in plain words: it becomes `Warning: 299`. */
  warning?: string;
  cacheStatus: CacheStatus;
}

/** A blob that is ready to be read. Whoever got it closes it. */
export interface BlobAnswer {
  digest: Digest;
  /** Of the whole blob, where it is known. */
  size?: number;
  cacheStatus: CacheStatus;
  /** Why it is passed on without being kept. */
  uncached?: UncachedReason;
  /** The parts to send: `undefined` is the whole blob, none is an unsatisfiable range. */
  parts?: readonly ByteRange[];
  /** The bytes of one of `parts`, or of the whole; opens them when they are first asked for. */
  read(part?: ByteRange): Bytes;
  /** A URL that the client may be sent to instead, for the whole or one of `parts`; a secret. `undefined`: it could not be had. */
  elsewhere?: () => Promise<string | undefined>;
  /**
   * The whole of a short blob, where it is at hand in one piece: until {@link close}, and asked for before anything is
   * read. `undefined`: it is to be read.
   */
  piece?(): Promise<Uint8Array | undefined>;
  /** Lets go of everything, also when nothing was read. May be called again without harm. */
  close(): Promise<void>;
}

/** A page of a repository's tags. */
export interface TagsAnswer {
  tags: readonly string[];
  /** Where the next page starts: opaque, comes back as the page's `cursor`. */
  next?: string;
  warning?: string;
  cacheStatus: CacheStatus;
}

/** All that refers to a subject, unfiltered. */
export interface ReferrersAnswer {
  manifests: readonly Readonly<Record<string, unknown>>[];
  warning?: string;
  cacheStatus: CacheStatus;
}

/** A page of the repositories that are served. */
export interface CatalogAnswer {
  repositories: readonly string[];
  /** Where the next page starts: opaque, comes back as the page's `cursor`. */
  next?: string;
}
