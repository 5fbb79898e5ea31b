/** Why something goes: nobody used it for as long as it may be unused, `maxBytes` needs its room, or it was purged. */
export type RemovalReason = 'unused' | 'max-bytes' | 'purged';

export type RetentionEvent =
  /** What nobody uses any more is gone from a repository; its bytes go when no other repository has them. */
  | {
      type: 'repository-swept';
      upstream: string;
      repository: string;
      reason: RemovalReason;
      tags: number;
      manifests: number;
      blobs: number;
    }
  /** What is unused of an upstream stays while that fails: it could not be fetched again. `maxBytes` goes on. */
  | { type: 'sweep-paused'; upstream: string; error?: string }
  /** A sweep has looked at all that is stored (`finished`), was left or closed (`stopped`), or could not go on (`failed`). */
  | {
      type: 'sweep-ended';
      outcome: 'finished' | 'stopped' | 'failed';
      reason: RemovalReason;
      /** Nothing was removed: it is what would have been. */
      dryRun: boolean;
      /** Removed by repository: a blob of two counts twice. */
      tags: number;
      manifests: number;
      blobs: number;
      /** What left the store: files, and their bytes. */
      files: number;
      bytes: number;
      durationMs: number;
      error?: string;
    };

/**
 * What should be stored does not fit into `maxBytes`, and what would make room could not go, or not in time: it is passed on
 * uncached. Told once a minute at most for each upstream that it came from.
 */
export interface QuotaEvent {
  type: 'quota-exceeded';
  upstream: string;
  /** Whose limit it is: `retention.maxBytes`, or the upstream's own. */
  of: 'cache' | 'upstream';
  maxBytes: number;
  /** Missing while what is stored is still being counted. */
  storedBytes?: number;
  /** What running transfers may still bring. */
  claimedBytes: number;
  wantedBytes: number;
}
