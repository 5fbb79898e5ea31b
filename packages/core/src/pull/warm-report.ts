import type { Digest } from '../oci/digest.ts';

/** How a cache is to be warmed. */
export interface WarmOptions {
  /**
   * Of an index only the images for these platforms (`linux/amd64`, `linux/arm64/v8`; without a variant any), and those that
   * it names no platform for. An image that is no index is taken as it is. Default: all that an index names.
   */
  platforms?: readonly string[];
  /** Manifests and blobs that are asked for at a time. Default 4. */
  concurrency?: number;
  /** Ends it: what is coming in for nobody else ends, too; what was stored stays. */
  signal?: AbortSignal;
  /** Called after each step, and each second while blobs come in, synchronously. What it throws, or rejects with, is dropped. */
  onProgress?: (soFar: WarmProgress) => void;
}

/** How far it has come. */
export interface WarmProgress {
  references: { total: number; done: number; failed: number };
  /** Manifests and blobs; `known` grows as manifests are read. */
  contents: { known: number; done: number };
  /** Bytes of these; what is under way counts as done as far as it has come. */
  bytes: { known: number; done: number };
  durationMs: number;
}

/** What came of one reference. */
export interface WarmedReference {
  /** As it was given. */
  reference: string;
  /** `stored`: something came in, and all of it is stored; `here`: all was stored before; `failed`: not all of it is. */
  outcome: 'stored' | 'here' | 'failed';
  /** What it stands for, where that is known. */
  digest?: Digest;
  /** Bytes that came in for it. What several references need counts for the first. */
  bytes: number;
  /** What failed first, by the codes of errors. */
  error?: { code: string; message: string };
  /** How many of its manifests and blobs failed. */
  failures?: number;
  /** How many of its blobs wait on the local disk for a store that does not take them now: they are served meanwhile. */
  waiting?: number;
  /** What a client would be told of it: that it could not be validated. */
  warning?: string;
}

/** What came of it all. */
export interface WarmReport {
  /** In the order in which they were given. */
  references: readonly WarmedReference[];
  failed: number;
  /** Bytes that came in. */
  bytes: number;
  durationMs: number;
}
