import { AsyncLocalStorage } from 'node:async_hooks';
import type { Span, SpanAttributes, SpanStart, Tracing } from '@proxycache/core';

/** A span as a test looks at it. */
export interface RecordedSpan {
  name: string;
  kind: SpanStart['kind'];
  parent: RecordedSpan | undefined;
  attributes: Record<string, SpanAttributes[string]>;
  /** What it failed with. */
  failure?: string;
  links: RecordedSpan[];
  ended: boolean;
}

/** Tracing that keeps what it is told, with parents by the asynchronous context. */
export function recordSpans(): { tracing: Tracing; spans: RecordedSpan[] } {
  const active = new AsyncLocalStorage<RecordedSpan>();
  const spans: RecordedSpan[] = [];
  const recordOf = new WeakMap<Span, RecordedSpan>();
  const tracing: Tracing = {
    span({ name, kind, attributes }, run) {
      const parent = active.getStore();
      const record: RecordedSpan = { name, kind, parent, attributes: { ...attributes }, links: [], ended: false };
      spans.push(record);
      const span: Span = {
        name(text) {
          record.name = text;
        },
        set: (more) => void Object.assign(record.attributes, more),
        fail(type) {
          record.failure = type;
        },
        link(other) {
          const linked = recordOf.get(other);
          if (linked) record.links.push(linked);
        },
      };
      recordOf.set(span, record);
      const end = () => {
        record.ended = true;
      };
      const result = active.run(record, () => run(span));
      if (result instanceof Promise) result.then(end, end);
      else end();
      return result;
    },
  };
  return { tracing, spans };
}

/** The names from a span up to the one that nobody is the parent of. */
export function lineageOf(span: RecordedSpan | undefined): string[] {
  return span ? [span.name, ...lineageOf(span.parent)] : [];
}
