import type { Bytes } from '../runtime/bytes.ts';

/** A request as core reads it. Node's is wrapped, not copied; a web `Request` is adapted in fetch.ts. */
export interface HttpRequest {
  method: string;
  /** Path and query as they came, percent-encoding untouched, starting at the mount point: `/v2/...`. */
  url: string;
  /** Where the cache is mounted, `''` or `/prefix` without a slash at its end: `Link` headers carry it. */
  basePath: string;
  /** `get` takes names in lowercase. */
  headers: { get(name: string): string | null };
  /** Fires when the client has left. A lazy getter: creating one per request is dear. */
  readonly signal: AbortSignal;
  /** The whole body. @throws ProxyCacheError `body-too-large` over `limit` bytes */
  body(limit: number): Promise<Uint8Array>;
  /** The host's own (user, TLS peer, address), handed to hooks. */
  context?: unknown;
}

/** Answers requests; `undefined`: the path is not ours, the host goes on. */
export interface Handle {
  (request: HttpRequest): Promise<HttpResponse | undefined>;
  /**
   * The same answer at once, where nothing has to be read, asked or waited for. `undefined` says nothing, and nothing was
   * told to anybody: the request is to be handled. It belongs to the function, so that what wraps the one cannot forget
   * the other.
   */
  fromMemory?(request: HttpRequest): HttpResponse | undefined;
}

/**
 * A response to write. A `Bytes` body is iterated once to its end or returned from, also on HEAD, where it is `null`.
 * Header names are lowercase. But with `offload: 'off'` its chunks may lie in a `SharedArrayBuffer`.
 */
export interface HttpResponse {
  status: number;
  headers: Readonly<Record<string, string | readonly string[]>>;
  body: Bytes | Uint8Array | null;
}
