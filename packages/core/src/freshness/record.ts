/** An upstream's "no", and when it was said (ms since the epoch). */
export interface Refusal {
  at: number;
  /** The OCI error code of "absent", or the status of "denied": also of a denial that the rules read as "absent". */
  code: string;
  message: string;
}

/**
 * What is known of something that changes at an upstream: a tag (`T` is a descriptor), a subject's referrers. Facts with
 * instants in ms since the epoch; which of them still count is decided when reading, by the rules.
 */
export interface FreshnessRecord<T> {
  /** What the upstream said last that it is. */
  value?: T;
  /** Whether that value can be served from here; a tag seen by HEAD alone is known, not stored. */
  stored: boolean;
  /** When the upstream last said so. */
  validatedAt?: number;
  /** Set while its last word was "absent". What was known before is kept until retention. */
  absent?: Refusal;
  /** Set while its last word was "denied". */
  denied?: Refusal;
  /** The last value all of whose content was here, when a newer one took its place. */
  lastComplete?: T;
}

/** A record as one reader sees it. */
export interface SeenRecord<T> extends FreshnessRecord<T> {
  /**
   * The upstream has to be asked before the value is served, however lately it said so: it said so to somebody else, or
   * too long ago for this reader. Never stored.
   */
  mustValidate?: boolean;
}

/** What came of asking the upstream. "found" carries the value that can be served, or is known, from now on. */
export type Outcome<T> =
  | { kind: 'found'; value: T; stored: boolean }
  | { kind: 'absent'; code: string; message: string }
  | { kind: 'denied'; status: number; message: string }
  | { kind: 'failed'; error: unknown };

/** When the upstream said its last word, in ms since the epoch; `-Infinity` where it said none. */
export function latestInstant<T>(record: FreshnessRecord<T> | undefined): number {
  const instants = [record?.validatedAt, record?.absent?.at, record?.denied?.at].filter((at) => at !== undefined);
  return Math.max(...instants);
}

/** The value that can be served from here, and since when it is known to be right. */
export function storedValue<T>(record: FreshnessRecord<T> | undefined): { value: T; validatedAt: number } | undefined {
  if (!record?.stored || record.value === undefined || record.validatedAt === undefined) return undefined;
  return { value: record.value, validatedAt: record.validatedAt };
}
