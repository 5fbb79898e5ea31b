import type { Running } from './running.ts';

/** What one flight does; the signal fires, with the reason of the last who left, when nobody waits for it any more. */
export type FlightWork<T> = (signal: AbortSignal) => Promise<T>;

/** Calls that share their work: see {@link createFlights}. */
export interface Flights<T> {
  /** Joins the flight under `key`, or starts one with `work`. Rejects with the signal's reason when `signal` fires. */
  join(key: string, work: FlightWork<T>, signal?: AbortSignal): Promise<T>;
  /** Whether a flight under `key` is in the air. */
  has(key: string): boolean;
}

type Flight<T> = { result: Promise<T>; waiters: number; controller: AbortController };

/**
 * Collapses concurrent calls with the same key into one (RFC 9211 "collapsed"). A caller that gives up leaves the
 * flight; only when the last one has left is the work itself aborted. Results are not kept: that is a cache's work.
 *
 * @param running counts the work of each flight, also of one that all have left
 */
export function createFlights<T>(running?: Running): Flights<T> {
  const flights = new Map<string, Flight<T>>();

  function launch(key: string, work: FlightWork<T>): Flight<T> {
    const controller = new AbortController();
    const flight: Flight<T> = { controller, waiters: 0, result: Promise.resolve().then(() => work(controller.signal)) };
    const land = () => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    flight.result.then(land, land);
    running?.add(flight.result);
    flights.set(key, flight);
    return flight;
  }

  return {
    has: (key) => flights.has(key),
    async join(key, work, signal) {
      signal?.throwIfAborted();
      const flight = flights.get(key) ?? launch(key, work);
      flight.waiters++;
      try {
        return await (signal ? abortable(flight.result, signal) : flight.result);
      } finally {
        flight.waiters--;
        if (flight.waiters === 0 && flights.get(key) === flight) {
          flights.delete(key);
          flight.controller.abort(signal?.reason);
        }
      }
    },
  };
}

/** The promise's outcome, or the signal's reason as soon as the signal fires. The work behind the promise goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => undefined);
    return Promise.reject(signal.reason);
  }
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
