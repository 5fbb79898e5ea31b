/** Events of this folder. */
export type RosterEvent =
  /** An upstream came, was changed or went while the cache runs: by this process or by another one. */
  | {
      type: 'upstream-changed';
      upstream: string;
      change: 'added' | 'updated' | 'removed';
      origin: 'here' | 'elsewhere';
    }
  /** What is written of an upstream cannot be used, and why; what is asked of it is answered with 503. */
  | { type: 'upstream-unusable'; upstream: string; error: string };
