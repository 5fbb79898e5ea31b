/** Who asks. */
export interface Identity {
  /** As audits name it: 1 to 256 characters on one line; never a secret. */
  name: string;
  /**
   * What a token narrows its bearer to: repositories, named as clients write them in paths (`docker-hub/library/alpine`);
   * `_catalog` lists no others. It only narrows: `authorize` is asked all the same. Absent: no narrowing.
   */
  repositories?: readonly string[];
  /** The host's own: groups, tenant. */
  attributes?: Readonly<Record<string, unknown>>;
}

/** A request as hooks see it: the same object for all hooks of one request. */
export interface AccessRequest {
  method: string;
  /** Path and query as they came, percent-encoding untouched, starting at the mount point: `/v2/...`. */
  url: string;
  /** Where the cache is mounted, `''` or `/prefix` without a slash at its end: `Link` headers carry it. */
  basePath: string;
  /** `get` takes names in lowercase. */
  headers: { get(name: string): string | null };
  /** The host's own (user, TLS peer, address), handed to hooks. May be a lazy getter: only what the cache answers has it read. */
  context?: unknown;
  /** What the adapter sees of the connection itself, looked up when it is read; `undefined` where it sees nothing, as of web requests. */
  readonly connection?: Connection | undefined;
  /** Fires when the client has left; for hooks, also when their time is up. A lazy getter: creating one per request is dear. */
  readonly signal: AbortSignal;
}

/** A connection that a request came by. */
export interface Connection {
  /** The address at its other end, which no header can change: a client's, or a reverse proxy's. Missing of Unix sockets. */
  address?: string;
  /** The names of the headers that came, in lowercase. */
  headerNames: readonly string[];
}

/** Whoever asks for something, and how. */
export interface Asker {
  /** `undefined`: nobody that is known. */
  identity: Identity | undefined;
  request: AccessRequest;
}
