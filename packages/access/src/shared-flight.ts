/** Work that several wait for at once. */
export interface Flights<T> {
  /**
   * Waits for what runs under this key, or begins it. One who leaves ends only the own wait; when all have left, the work's
   * signal fires.
   */
  join(key: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

interface Flight<T> {
  result: Promise<T>;
  waiting: number;
  controller: AbortController;
}

/** Makes an empty set of them. */
export function createFlights<T>(): Flights<T> {
  const flights = new Map<string, Flight<T>>();

  function begin(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const flight: Flight<T> = { result: work(controller.signal), waiting: 0, controller };
    flights.set(key, flight);
    const end = () => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    flight.result.then(end, end);
    return flight;
  }

  return {
    join(key, signal, work) {
      if (signal.aborted) return Promise.reject(signal.reason);
      const flight = flights.get(key) ?? begin(key, work);
      flight.waiting++;
      return new Promise((resolve, reject) => {
        const leave = () => {
          reject(signal.reason);
          if (--flight.waiting > 0) return;
          // Who comes now must not join what is being given up.
          if (flights.get(key) === flight) flights.delete(key);
          flight.controller.abort(signal.reason);
        };
        signal.addEventListener('abort', leave, { once: true });
        const stay = () => signal.removeEventListener('abort', leave);
        flight.result.then(resolve, reject).finally(stay);
      });
    },
  };
}
