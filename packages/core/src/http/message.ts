import type { AccessRequest } from '../access/hooks.ts';
import type { Bytes } from '../runtime/bytes.ts';

/** A request as core reads it: as hooks see it, and its body. Node's is wrapped, not copied; a web `Request` is adapted in fetch.ts. */
export interface HttpRequest extends AccessRequest {
  /** The whole body. @throws ProxyCacheError `body-too-large` over `limit` bytes */
  body(limit: number): Promise<Uint8Array>;
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

/** Answers paths of its own beside `/v2/`. */
export interface HandleBeside extends Handle {
  /**
   * Whether a URL is one of its own, at once: only those are refused with 503 over `maxRequests` and once the cache is
   * closed. Of what it does not own, or without it, the host goes on then. It belongs to the function, as `fromMemory` does.
   */
  owns?(url: string): boolean;
}

/**
 * A response to write. A `Bytes` body is iterated once to its end or returned from, also on HEAD, where it is `null`; one that
 * {@link isWhole} may be taken instead.
 * Header names are lowercase. But with `offload: 'off'` its chunks may lie in a `SharedArrayBuffer`.
 */
export interface HttpResponse {
  status: number;
  headers: Readonly<Record<string, string | readonly string[]>>;
  body: Bytes | Uint8Array | null;
}
