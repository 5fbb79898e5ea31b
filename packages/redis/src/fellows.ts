/** A connection, as the others of this process to the same server know it. */
export interface Fellow {
  /** One of the others was not answered what it asked so long ago: it is time to find out whether this one is. */
  look(forMs: number): void;
  /** The same, and that nobody waits for it any more: it was waited for `withinMs`. */
  giveUp(told: GivenUp): void;
}

/** How a connection was waited for in vain. */
export interface GivenUp {
  forMs: number;
  withinMs: number;
  error: Error;
}

/** The other connections of this process to a server. */
export interface Fellows {
  look(forMs: number): void;
  giveUp(told: GivenUp): void;
  leave(): void;
}

// Of the process, as its servers are: metadata and a coordinator that were made apart know nothing else of one another.
const byServer = new Map<string, Set<Fellow>>();

/** Without this each of them finds out for itself that the server stands still, and one pull waits for each. */
export function joinFellows(server: string, me: Fellow): Fellows {
  const all = byServer.get(server) ?? new Set();
  byServer.set(server, all.add(me));
  const others = () => [...all].filter((one) => one !== me);
  return {
    look(forMs) {
      for (const one of others()) one.look(forMs);
    },
    giveUp(told) {
      for (const one of others()) one.giveUp(told);
    },
    leave() {
      all.delete(me);
      if (all.size === 0 && byServer.get(server) === all) byServer.delete(server);
    },
  };
}
