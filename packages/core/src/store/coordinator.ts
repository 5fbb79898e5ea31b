/**
 * A lease that is held. `token` rises with every lease of its key, for fencing, also over a restart of whatever gives it:
 * records remember it.
 */
export interface Lease {
  token: number;
  /** Fires when the lease could not be kept. */
  lost: AbortSignal;
  release(): Promise<void>;
}

/** What lets several owners of one storage agree who does a piece of work. In-process by default. */
export interface Coordinator {
  /**
   * Takes the lease of `key`, kept alive until it is released.
   *
   * @param options.for how long it outlives its holder, in ms
   * @param options.value what {@link Coordinator.holder} tells of the holder
   * @returns `undefined` while somebody else has it
   */
  acquire(key: string, options: { for: number; value?: string; signal: AbortSignal }): Promise<Lease | undefined>;
  /** The value of the lease's holder; `undefined` when nobody holds it. */
  holder(key: string): Promise<string | undefined>;
  publish(channel: string, message: string): Promise<void>;
  /** Calls `fn` for each message from now on, also one's own; the answer ends it. */
  subscribe(channel: string, fn: (message: string) => void): () => void;
}
