import type { HttpRequest, HttpResponse } from './http/message.ts';
import type { Descriptor } from './oci/descriptor.ts';
import type { ProxyCacheOptions } from './options.ts';
import { ProxyCacheError } from './runtime/errors.ts';

/** A pull-through cache. One per process and storage; adapters mount it. */
export interface ProxyCache {
  /** Answers a request; `undefined`: not a `/v2/` path, the host goes on. Never rejects for what a client sent. */
  handle(request: HttpRequest): Promise<HttpResponse | undefined>;
  /** The same for web requests: Hono, Next, Bun, tests. 404 for what is not ours. */
  fetch(request: Request): Promise<Response>;
  /** Whether a reference such as `docker-hub/library/alpine:3` is here and can be served without the upstream. */
  has(reference: string): Promise<boolean>;
  /** What a reference means now, by the rules of a pull. @throws ProxyCacheError, UpstreamError */
  resolve(reference: string): Promise<Descriptor>;
  /** Ends: later requests get 503; what runs may finish for `graceMs` (default 10 s), then is cut off. */
  close(options?: { graceMs?: number }): Promise<void>;
}

/** Makes a pull-through cache. @throws ProxyCacheError `invalid-options`, naming the path and the value */
export function createProxyCache(options: ProxyCacheOptions): ProxyCache {
  throw new ProxyCacheError('invalid-options', `not built yet: ${Object.keys(options)}`);
}
