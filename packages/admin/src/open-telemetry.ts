import { ProxyCacheError, type Span, type SpanStart, type Tracing } from '@proxycache/core';
import type { ApiGetter, ApiSpan, OpenTelemetryApi } from './open-telemetry-api.ts';

/** Options of {@link openTelemetry}. */
export interface OpenTelemetryOptions {
  /** What spans are said to come from. Default `proxycache`. */
  tracerName?: string;
  /**
   * Whether a request's headers say which span it belongs to, and whether it is sampled (W3C Trace Context). Where anybody can
   * reach the cache, `false` keeps strangers from having all of their requests sampled. Default true.
   */
  trustsClients?: boolean;
}

/**
 * Tracing for the option `tracing` of `createProxyCache`, by OpenTelemetry. The host sets that up: an SDK, its exporter, and a
 * context manager, without which spans know no parents. A span of the host's that is active when a request comes in is its
 * parent, before what the request's headers say.
 *
 * @param api the module: `import * as api from '@opentelemetry/api'`
 * @throws ProxyCacheError `invalid-options`
 */
export function openTelemetry(
  api: OpenTelemetryApi,
  { tracerName = 'proxycache', trustsClients = true }: OpenTelemetryOptions = {},
): Tracing {
  if (typeof api !== 'object' || api === null || !('trace' in api) || !('propagation' in api)) {
    throw new ProxyCacheError(
      'invalid-options',
      "openTelemetry: api: expected the module @opentelemetry/api; install it (npm install @opentelemetry/api) and pass it: import * as api from '@opentelemetry/api'",
    );
  }
  const { trace, context, propagation, SpanKind, SpanStatusCode } = api;
  const tracer = trace.getTracer(tracerName);
  const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL };
  const contexts = new WeakMap<Span, unknown>();
  const getter: ApiGetter<NonNullable<SpanStart['headers']>> = {
    get: (headers, name) => headers.get(name) ?? undefined,
    keys: () => [],
  };

  function begin({ name, kind, attributes, headers }: SpanStart): { span: ApiSpan; within: unknown } {
    const active = context.active();
    const isInHosts = trace.getSpan(active) !== undefined;
    const isRemote = !isInHosts && trustsClients && headers !== undefined;
    const parent = isRemote ? propagation.extract(active, headers, getter) : active;
    // The host's own span is the server's: two would count each request twice.
    const own = kind === 'server' && isInHosts ? 'internal' : kind;
    const span = tracer.startSpan(name, { kind: kinds[own], attributes }, parent);
    return { span, within: trace.setSpan(parent, span) };
  }

  function spanOf(span: ApiSpan): Span {
    const own: Span = {
      name: (name) => void span.updateName(name),
      set: (attributes) => void span.setAttributes(attributes),
      fail(type) {
        span.setAttribute('error.type', type);
        span.setStatus({ code: SpanStatusCode.ERROR });
      },
      link(other) {
        const linked = contexts.get(other);
        if (linked) span.addLink?.({ context: linked });
      },
    };
    contexts.set(own, span.spanContext());
    return own;
  }

  return {
    span(start, run) {
      const { span, within } = begin(start);
      const end = () => span.end();
      let result: ReturnType<typeof run>;
      try {
        result = context.with(within, run, undefined, spanOf(span));
      } catch (error) {
        end();
        throw error;
      }
      if (result instanceof Promise) result.then(end, end);
      else end();
      return result;
    },
  };
}
