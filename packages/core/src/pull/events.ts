/** Events of this folder. */
export interface PrefetchEvent {
  /** Nothing is fetched ahead from an upstream for half a minute, and `dropped` blobs that waited for it are not at all. */
  type: 'prefetch-paused';
  upstream: string;
  /**
   * `crowded`: clients need all connections to it, or all of `maxIngests`; `unavailable`: one of its hosts is known to be
   * down; `rate-limited`: it answered 429; `storage`: a blob had no room here; `failed`: a blob did not come.
   */
  reason: 'crowded' | 'unavailable' | 'rate-limited' | 'storage' | 'failed';
  dropped: number;
}
