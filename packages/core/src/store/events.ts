import type { Digest } from '../oci/digest.ts';

/** Why a stored blob is of no use: other bytes than its digest says, or none that the store can give. */
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
  /** A stored blob was taken out of sight; a pull fetches it again. The store may have kept its bytes. */
  | { type: 'blob-quarantined'; digest: Digest; size: number; reason: BlobFlaw };

/** The event of a failure. */
export function storeFailed(operation: string, subject: string, error: unknown): StoreEvent {
  return { type: 'store-failed', operation, subject, error: error instanceof Error ? error.message : String(error) };
}
