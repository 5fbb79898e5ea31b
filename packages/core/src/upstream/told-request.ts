import type { Clock } from '../runtime/clock.ts';
import { createDeferred } from '../runtime/deferred.ts';
import { noSpan, type Span, type SpanStart, type Trace, tracedOn } from '../runtime/tracing.ts';
import type { UpstreamEvent, UpstreamOperation } from './events.ts';
import type { ExchangeResponse } from './exchange.ts';
import { isUpstreamError, wasNotAsked } from './upstream-error.ts';

/** What a request is about, as it may be told. */
export interface RequestAbout {
  operation: UpstreamOperation;
  method: string;
  url: URL;
  repository?: string | undefined;
}

/** Told when a response is over. @param complete whether all of it came */
export type ResponseOver = (bytes: number, complete: boolean) => void;

/** Sends a request of an upstream and tells of it: as events, and as a span from then until its response is over. */
export type TellRequest = (
  about: RequestAbout,
  send: (over: ResponseOver) => Promise<ExchangeResponse>,
) => Promise<ExchangeResponse>;

/** @param parts.key the upstream's */
export function createTellRequest(parts: {
  key: string;
  clock: Clock;
  observe(event: UpstreamEvent): void;
  trace?: Trace | undefined;
}): TellRequest {
  const { key: upstream, clock, observe, trace } = parts;

  async function told(
    { operation, method, url, repository }: RequestAbout,
    send: (over: ResponseOver) => Promise<ExchangeResponse>,
    { span, over }: { span: Span; over: () => void },
  ): Promise<ExchangeResponse> {
    const startedAt = clock.monotonic();
    const { host } = url;
    const about = { upstream, operation, host, method, ...(repository !== undefined && { repository }) };
    let isReported = false;
    let ended: { bytes: number; complete: boolean } | undefined;

    function report(status: number | undefined, error?: unknown): void {
      const durationMs = clock.monotonic() - startedAt;
      const code = isUpstreamError(error) ? error.code : undefined;
      observe({ type: 'upstream-request', ...about, status, durationMs, ...(code && { error: code }) });
      isReported = true;
      tellEnd();
    }

    /** Its headers are told first, also where all of it came at once. */
    function tellEnd(): void {
      if (!ended || !isReported) return;
      const { bytes, complete } = ended;
      const durationMs = clock.monotonic() - startedAt;
      if (bytes > 0) observe({ type: 'upstream-received', ...about, bytes, complete, durationMs });
      span.set({ 'http.response.body.size': bytes });
      if (!complete) span.fail('incomplete');
      over();
    }

    try {
      const response = await send((bytes, complete) => {
        ended = { bytes, complete };
        tellEnd();
      });
      span.set({ 'http.response.status_code': response.status });
      if (response.status >= 400) span.fail(String(response.status));
      report(response.status);
      return response;
    } catch (error) {
      span.fail(isUpstreamError(error) ? error.code : 'aborted');
      // Nobody was asked.
      if (!wasNotAsked(error)) report(undefined, error);
      throw error;
    }
  }

  if (!trace) return (about, send) => told(about, send, { span: noSpan, over: () => undefined });
  return (about, send) =>
    tracedOn(trace, startOf(upstream, about), async (span) => {
      const over = createDeferred<void>();
      const value = await told(about, send, { span, over: () => over.resolve() });
      return { value, over: over.promise };
    });
}

/** OpenTelemetry's conventions for HTTP. Not among it: the URL, which may be signed. */
function startOf(upstream: string, { operation, method, url, repository }: RequestAbout): SpanStart {
  return {
    name: `${method} ${operation}`,
    kind: 'client',
    attributes: {
      'http.request.method': method,
      'server.address': url.hostname,
      'server.port': Number(url.port || (url.protocol === 'http:' ? 80 : 443)),
      'url.scheme': url.protocol.slice(0, -1),
      'proxycache.upstream': upstream,
      'proxycache.operation': operation,
      ...(repository !== undefined && { 'proxycache.repository': repository }),
    },
  };
}
