import type { SpanAttributes } from '@proxycache/core';

// Described by what is used of it, not imported: who has no tracing needs no `@opentelemetry/api`, not even for types.

/** A span, as OpenTelemetry has them. */
export interface ApiSpan {
  updateName(name: string): unknown;
  setAttribute(name: string, value: string): unknown;
  setAttributes(attributes: SpanAttributes): unknown;
  setStatus(status: { code: number }): unknown;
  addLink?(link: { context: unknown }): unknown;
  spanContext(): unknown;
  end(): void;
}

/** How a carrier of headers is read. */
export interface ApiGetter<Carrier> {
  get(carrier: Carrier, name: string): string | undefined;
  keys(carrier: Carrier): string[];
}

/** What {@link openTelemetry} takes of `@opentelemetry/api`: the module is one. Contexts are its own. */
export interface OpenTelemetryApi {
  trace: {
    getTracer(name: string): {
      startSpan(name: string, options: { kind: number; attributes: SpanAttributes }, parent: unknown): ApiSpan;
    };
    getSpan(context: unknown): unknown;
    setSpan(context: unknown, span: ApiSpan): unknown;
  };
  context: {
    active(): unknown;
    with<T>(context: unknown, run: (span: never) => T, self: undefined, span: unknown): T;
  };
  propagation: {
    extract<Carrier>(context: unknown, carrier: Carrier, getter: ApiGetter<Carrier>): unknown;
  };
  SpanKind: { SERVER: number; CLIENT: number; INTERNAL: number };
  SpanStatusCode: { ERROR: number };
}
