/** A store could not do its part; the pull went on without it. */
export type StoreEvent = {
  type: 'store-failed';
  /** What was tried, such as `open`, `adopt`, `metadata-get`. */
  operation: string;
  /** The digest or metadata key it was about. */
  subject: string;
  error: string;
};

/** The event of a failure. */
export function storeFailed(operation: string, subject: string, error: unknown): StoreEvent {
  return { type: 'store-failed', operation, subject, error: error instanceof Error ? error.message : String(error) };
}
