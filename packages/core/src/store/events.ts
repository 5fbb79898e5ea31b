/** A store could not do its part; the pull went on without it. */
export type StoreEvent = {
  type: 'store-failed';
  /** What was tried, such as `open`, `adopt`, `metadata-get`. */
  operation: string;
  /** The digest or metadata key it was about. */
  subject: string;
  error: string;
};
