import type { Flights } from './collapse.ts';
import type { Span, Trace } from './tracing.ts';

/**
 * The same flights, with a span around each: part of the request that began it. Whoever joins has a span of his own for as
 * long as he waits, which links to it.
 *
 * @param trace `undefined`: nobody traces
 */
export function traceFlights<T>(flights: Flights<T>, trace: Trace | undefined, name: string): Flights<T> {
  if (!trace) return flights;
  const flying = new Map<string, Span>();
  return {
    has: flights.has,
    join(key, work, signal) {
      if (flights.has(key)) {
        return trace({ name: `wait: ${name}`, kind: 'internal', attributes: {} }, (span) => {
          const joined = flights.join(key, work, signal);
          // The work of one that was begun just now is about to start.
          queueMicrotask(() => {
            const other = flying.get(key);
            if (other) span.link(other);
          });
          return joined;
        });
      }
      const launched = (joint: AbortSignal) =>
        trace({ name, kind: 'internal', attributes: {} }, async (span) => {
          flying.set(key, span);
          try {
            return await work(joint);
          } finally {
            if (flying.get(key) === span) flying.delete(key);
          }
        });
      return flights.join(key, launched, signal);
    },
  };
}
