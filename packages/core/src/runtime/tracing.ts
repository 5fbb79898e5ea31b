import { AsyncResource } from 'node:async_hooks';
import { attempt } from './attempt.ts';

/** What a span says of what it is about. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** What a span begins with. */
export interface SpanStart {
  /** One of few: what varies with each request is in the attributes. */
  name: string;
  /** `server`: a request that is answered here; `client`: one that is sent; `internal`: work in between. */
  kind: 'server' | 'client' | 'internal';
  attributes: SpanAttributes;
  /** Of the request that is answered: its `traceparent` may name the span that it belongs to. */
  headers?: { get(name: string): string | null };
}

/** A span under way. */
export interface Span {
  /** Names it anew, once more is known. */
  name(name: string): void;
  set(attributes: SpanAttributes): void;
  /** It comes to nothing. @param type a word for why, one of few */
  fail(type: string): void;
  /** Names another span that this one waits for, and is no part of. */
  link(other: Span): void;
}

/** Where spans go: see `openTelemetry` of `@proxycache/admin`. What it throws, or rejects with, is dropped. */
export interface Tracing {
  /**
   * Calls `run`, once and at once, and gives what that gives. What is traced within it, also later and in what it waits
   * for, is part of the span, which ends with it: of a promise, once that has settled.
   */
  span<T>(start: SpanStart, run: (span: Span) => T): T;
}

/** {@link Tracing.span} of a {@link Tracing} that may be trusted. */
export type Trace = Tracing['span'];

/** A span that goes nowhere. */
export const noSpan: Span = {
  name: () => undefined,
  set: () => undefined,
  fail: () => undefined,
  link: () => undefined,
};

/** Spans that a host traces: whatever it throws, and however it calls, `run` is called once and its outcome is what counts. */
export function createTrace(tracing: Tracing): Trace {
  const own = new WeakMap<Span, Span>();

  function guarded(span: Span): Span {
    const safe: Span = {
      name: (name) => attempt(() => span.name(name)),
      set: (attributes) => attempt(() => span.set(attributes)),
      fail: (type) => attempt(() => span.fail(type)),
      link: (other) => attempt(() => span.link(own.get(other) ?? other)),
    };
    own.set(safe, span);
    return safe;
  }

  return (start, run) => {
    let outcome: { value: ReturnType<typeof run> } | { error: unknown } | undefined;
    const once = (span: Span): ReturnType<typeof run> => {
      if (!outcome) {
        try {
          outcome = { value: run(span) };
        } catch (error) {
          outcome = { error };
        }
      }
      if ('error' in outcome) throw outcome.error;
      return outcome.value;
    };
    attempt(() => tracing.span(start, (span) => once(guarded(span))));
    return once(noSpan);
  };
}

/** A span around `run`, where there is somebody to trace it. */
export function traced<T>(trace: Trace | undefined, start: SpanStart, run: (span: Span) => T): T {
  return trace ? trace(start, run) : run(noSpan);
}

/** A span that goes on after its work has given what is waited for: until `over` has settled, too. */
export function tracedOn<T>(
  trace: Trace,
  start: SpanStart,
  work: (span: Span) => Promise<{ value: T; over?: Promise<unknown> }>,
): Promise<T> {
  let working: ReturnType<typeof work> | undefined;
  trace(start, async (span) => {
    working = work(span);
    const { over } = await working;
    await over;
  }).catch(() => undefined);
  // Called at once.
  return (working as ReturnType<typeof work>).then(({ value }) => value);
}

/** What is run by it later, on whoever's account, belongs to the span of now. */
export function keptSpan(): <T>(run: () => T) => T {
  const scope = new AsyncResource('proxycache.span');
  return (run) => scope.runInAsyncScope(run);
}
