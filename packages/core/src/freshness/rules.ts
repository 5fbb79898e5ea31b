/** The rules by which one upstream's records are read: policy, all in ms, applied when reading and never stored. */
export interface FreshnessRules {
  /** How long a record is served without asking. */
  freshForMs: number;
  /** How long after `freshForMs` a stored value is served when the upstream fails (RFC 5861 4). */
  staleIfErrorForMs: number;
  /** How long after `freshForMs` a stored value is served at once and validated behind the answer (RFC 5861 3). */
  staleWhileRevalidateForMs: number;
  /** How long "absent" is remembered. */
  absentForMs: number;
  /** How long "denied" is remembered: long enough to spare the upstream a client's retries, short enough to mend. */
  deniedForMs: number;
  /** What a stored value becomes when the upstream says it is gone. */
  onAbsent: 'refuse' | 'serve-stale';
  /** What a stored value becomes when the upstream denies it. */
  onDenied: 'refuse' | 'serve-stale';
  /** Whether this upstream says "denied" for what does not exist, as Docker Hub does: denied counts as absent then. */
  deniedMayMeanAbsent: boolean;
}
