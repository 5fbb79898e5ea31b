/** A stored value and the version of this writing of it: opaque, and another one after each `set`. */
export interface MetadataEntry {
  value: string;
  version: string;
}

/** Conditions and life of a `set`. */
export interface SetOptions {
  /** Write only if the key holds this version, or nothing at all. */
  ifVersion?: string | 'absent';
  /** Ms since the epoch: from then on the key reads as absent. */
  expiresAt?: number;
  /**
   * A lease's token: a store that can, refuses a token lower than one it has seen for this key, also after a write that
   * named none, and for a day after the record has expired or was deleted.
   */
  fence?: number;
  signal: AbortSignal;
}

/**
 * Small facts by key: strings in, strings out; core owns the codec and its format version. A key is segments joined by
 * `/`, each at most 255 bytes of `[A-Za-z0-9._~%-]`, and not `.` or `..`; no key is another one's folder
 * (`a/b` and `a/b/c` never both exist). Every failure is thrown, never told as "absent": a value that is there and cannot
 * be read as `storage-damaged`, and a `set` without conditions (`ifVersion`, `fence`) replaces it. Every call stops soon
 * after its signal fires.
 */
export interface MetadataStore {
  get(key: string, options: { signal: AbortSignal }): Promise<MetadataEntry | undefined>;
  /** One answer per key, in the keys' order. */
  getMany(keys: readonly string[], options: { signal: AbortSignal }): Promise<readonly (MetadataEntry | undefined)[]>;
  /** @returns whether it was written: `false` when `ifVersion` or `fence` forbade it */
  set(key: string, value: string, options: SetOptions): Promise<boolean>;
  /** @returns whether a value was removed */
  delete(key: string, options: { ifVersion?: string; signal: AbortSignal }): Promise<boolean>;
  /**
   * The keys that start with `prefix` (`''`, or segments that end in `/`), ascending by UTF-16 code units of their
   * segments, after `after` where it is given, at most `limit`. Never on a request's path.
   */
  list(prefix: string, options: { after?: string; limit: number; signal: AbortSignal }): Promise<readonly string[]>;
}
