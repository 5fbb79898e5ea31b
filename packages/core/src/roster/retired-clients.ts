import type { Clock } from '../runtime/clock.ts';
import type { Upstream } from '../upstream/upstream.ts';

/** Clients that no new request gets: those whose upstream was changed or removed. What runs over them ends by itself. */
export interface RetiredClients {
  /** @param isConnected whether it has connections; they close when they were unused for a while */
  add(client: Upstream, isConnected: () => boolean): void;
  /** Those that may still be in use. */
  all(): Iterable<Upstream>;
}

// Longer than any pull pauses between two requests to its upstream: what is let go is nobody's any more.
const letGoAfterMs = 10 * 60_000;

export function createRetiredClients(clock: Clock): RetiredClients {
  const retired = new Set<Upstream>();
  return {
    add(client, isConnected) {
      retired.add(client);
      const wait = () =>
        clock.after(letGoAfterMs, () => {
          if (isConnected()) wait();
          else retired.delete(client);
        });
      wait();
    },
    all: () => retired,
  };
}
