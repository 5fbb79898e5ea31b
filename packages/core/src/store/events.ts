import type { Digest } from '../oci/digest.ts';

/** Why a stored blob is of no use: other bytes than its digest says (read twice), or none that the store can give now. */
export type BlobFlaw = 'wrong-bytes' | 'unreadable';

export type StoreEvent =
  /** A store could not do its part; the pull went on without it. */
  | {
      type: 'store-failed';
      /** What was tried, such as `open`, `adopt`, `metadata-get`. */
      operation: string;
      /** The digest or metadata key it was about. */
      subject: string;
      error: string;
    }
  /** The coordinator did not answer: each process works by itself until it does. Told once. */
  | {
      type: 'coordinator-failed';
      /** What was tried, such as `acquire`. */
      operation: string;
      error: string;
    }
  /** A verified blob waits on the local disk for a store that does not take it now; pulls are served from there. */
  | { type: 'upload-waiting'; digest: Digest; size: number; error?: string }
  /** The store has a blob that waited for it. */
  | { type: 'upload-done'; digest: Digest; size: number; waitedMs: number }
  /** A stored blob was taken out of sight; a pull fetches it again. The store may have kept its bytes. */
  | { type: 'blob-quarantined'; digest: Digest; size: number; reason: BlobFlaw }
  /** A scrub has read all that is stored (`finished`), was left or closed (`stopped`), or could not go on (`failed`). */
  | {
      type: 'scrub-ended';
      outcome: 'finished' | 'stopped' | 'failed';
      /** How many were read. */
      blobs: number;
      /** Bytes of blobs that are right. */
      bytes: number;
      /** Blobs that are wrong or unreadable. */
      flawed: number;
      /** How many were read. */
      records: number;
      /** Those that could not be read or decoded, and were removed. */
      damaged: number;
      durationMs: number;
      error?: string;
    };

/** The event of a failure. */
export function storeFailed(operation: string, subject: string, error: unknown): StoreEvent {
  return { type: 'store-failed', operation, subject, error: error instanceof Error ? error.message : String(error) };
}
