/** What is to be purged. */
export type Purge =
  /** A tag, with what no other of its repository needs; or what a digest names, with the tags that stand for it. */
  | { reference: string }
  /** All of a repository, as the upstream names it; without one all of the upstream, which may be there no more. */
  | { upstream: string; repository?: string };

/** Options of a purge. */
export interface PurgeOptions {
  /** Ends it: what is gone by then stays gone. */
  signal?: AbortSignal;
  /** Called after each step, synchronously, with what is gone so far. What it throws, or rejects with, is dropped. */
  onProgress?: (soFar: PurgeReport) => void;
}

/** What a purge removed, so far or in all. */
export interface PurgeReport {
  /** Repositories that were looked at: one of an upstream with several credentials counts for each. */
  repositories: number;
  /** Records that are gone: nothing of these is served any more without the upstream's word. */
  tags: number;
  manifests: number;
  blobs: number;
  /** What left the store. */
  files: number;
  bytes: number;
  /** Manifests and blobs whose bytes stay, as another repository has them. */
  shared: number;
  /** Records and bytes that stay, as they are being written anew or the store does not let them go. */
  left: number;
  durationMs: number;
}
