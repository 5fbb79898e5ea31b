/** Whom a command is sent for. */
export interface RedisCall {
  /** Fires when nobody waits for it any more. Default: somebody who never leaves. */
  signal?: AbortSignal;
  /** Called when the command leaves: from then on it may be done, whether an answer comes or not. */
  sent?: () => void;
}

/** Redis, whatever it consists of. No call takes longer than the deadline that it was made with. */
export interface Redis {
  /** Whether keys are spread over servers, so that a command reaches only those with the hash tag of its key. */
  readonly isCluster: boolean;
  /**
   * Sends a command to the server that has `key`.
   *
   * @throws ProxyCacheError `storage-failed` when Redis is away, says an error or does not answer in time, `closed` after
   *   `close`; the signal's reason when it fires
   */
  send(key: string, args: readonly string[], call: RedisCall): Promise<unknown>;
  /** Ends the connections that were made for it, at once; calls fail from now on. */
  close(): Promise<void>;
}

/** A connection to one server, that was ready. */
export interface RedisLink {
  send(args: readonly string[]): Promise<unknown>;
  /** Calls `fn` for each message of a channel. From then on the connection takes no other commands but `PING`. */
  subscribe(channel: string, fn: (message: string) => void): Promise<void>;
  unsubscribe(channel: string): Promise<void>;
  /** Calls `fn` once, when the connection has ended by itself. */
  onLost(fn: (cause: unknown) => void): void;
  /** Ends it at once. */
  destroy(): void;
}

/** Connects to a server, or rejects; at the latest soon after the signal has fired. */
export type OpenLink = (opening: { signal: AbortSignal }) => Promise<RedisLink>;

/** What an observer of a Redis is told. */
export type RedisEvent =
  /** It answers: connected for the first time, or again. */
  | { type: 'redis-ready'; server: string }
  /** It is away; calls fail at once until it is ready. Told once, not for each attempt to connect. */
  | { type: 'redis-lost'; server: string; error: Error };
