import { countedBytes } from '../runtime/counted-bytes.ts';
import { createDeferred } from '../runtime/deferred.ts';
import { type Span, type SpanAttributes, type SpanStart, type Trace, tracedOn } from '../runtime/tracing.ts';
import { isStream } from './body.ts';
import type { RequestEvent } from './events.ts';
import type { ManifestsFromMemoryParts } from './manifests-from-memory.ts';
import type { Handle, HttpRequest, HttpResponse } from './message.ts';

/** OpenTelemetry's conventions for HTTP: the path as few, with what varies named. */
const routes: Partial<Record<RequestEvent['kind'], string>> = {
  ping: '/v2/',
  catalog: '/v2/_catalog',
  manifest: '/v2/{name}/manifests/{reference}',
  blob: '/v2/{name}/blobs/{digest}',
  tags: '/v2/{name}/tags/list',
  referrers: '/v2/{name}/referrers/{digest}',
  upload: '/v2/{name}/blobs/uploads/',
};

// Another is anything that a client made up.
const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** A span around each request, until its body is through. */
export function tracedRequests(
  trace: Trace,
  handle: (request: HttpRequest, span: Span) => Promise<HttpResponse | undefined>,
): Handle {
  return (request) =>
    tracedOn(trace, startOf(request), async (span) => {
      const value = await handle(request, span);
      if (!value || !isStream(value.body)) return { value };
      const over = createDeferred<void>();
      const announced = Number(value.headers['content-length'] ?? Number.NaN);
      const body = countedBytes(value.body, announced, (bytes, complete) => {
        span.set({ 'http.response.body.size': bytes });
        if (!complete) span.fail('incomplete');
        over.resolve();
      });
      return { value: { ...value, body }, over: over.promise };
    });
}

/**
 * Answers from memory, with a span of no length each: a request that is not answered so gets its span where it is handled.
 *
 * @param make makes the answers with the parts that it is given
 */
export function tracedFromMemory<P extends ManifestsFromMemoryParts>(
  trace: Trace,
  parts: P,
  make: (parts: P) => NonNullable<Handle['fromMemory']>,
): NonNullable<Handle['fromMemory']> {
  let last: { told?: RequestEvent; served?: Parameters<ManifestsFromMemoryParts['prefetch']['served']> } = {};
  const answer = make({
    ...parts,
    // Within the span: what is fetched ahead belongs to it.
    prefetch: {
      served: (...about) => {
        last.served = about;
      },
    },
    observe(event: RequestEvent) {
      if (event.type === 'request') last.told = event;
      parts.observe(event);
    },
  });
  return (request) => {
    last = {};
    const response = answer(request);
    const { told, served } = last;
    if (!response || !told) return response;
    trace(startOf(request), (span) => {
      noteAnswer(span, request, told);
      if (served) parts.prefetch.served(...served);
    });
    return response;
  };
}

/** What a span says of an answer. Not among it: the URL, which may be signed, and who asked. */
export function noteAnswer(span: Span, request: HttpRequest, event: RequestEvent): void {
  const { kind, upstream, repository, reference, status, cacheStatus, error } = event;
  const route = routes[kind];
  const attributes: Record<string, SpanAttributes[string]> = {
    'http.response.status_code': status,
    'proxycache.kind': kind,
    ...(route !== undefined && { 'http.route': route }),
    ...(upstream !== undefined && { 'proxycache.upstream': upstream }),
    ...(repository !== undefined && { 'proxycache.repository': repository }),
    ...(reference !== undefined && { 'proxycache.reference': reference }),
  };
  if (cacheStatus) {
    attributes['proxycache.hit'] = cacheStatus.hit;
    if (cacheStatus.fwd !== undefined) attributes['proxycache.forward'] = cacheStatus.fwd;
    if (cacheStatus.collapsed) attributes['proxycache.collapsed'] = true;
    if (cacheStatus.detail !== undefined) attributes['proxycache.detail'] = cacheStatus.detail;
  }
  if (route !== undefined) span.name(`${nameOf(request)} ${route}`);
  span.set(attributes);
  // OpenTelemetry: a client's mistake is no failure of who answers it.
  if (status >= 500) span.fail(error ?? String(status));
  else if (error !== undefined) span.set({ 'error.type': error });
}

function startOf({ method, headers }: HttpRequest): SpanStart {
  const known = methods.has(method) ? method : '_OTHER';
  return { name: nameOf({ method }), kind: 'server', attributes: { 'http.request.method': known }, headers };
}

function nameOf({ method }: Pick<HttpRequest, 'method'>): string {
  return methods.has(method) ? method : 'HTTP';
}
