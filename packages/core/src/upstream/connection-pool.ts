import type { Dispatcher } from 'undici';
import type { Clock } from '../runtime/clock.ts';
import type { LaneRequest } from './lane-request.ts';
import type { Valve } from './valve.ts';

/** What a request goes over: undici, or a lane of our own for large bodies. */
export type Wire = 'undici' | 'lane';

/** One connection to one host, for one request at a time. It connects when it is first used. */
export interface Connection {
  wire: Wire;
  dispatcher: { dispatch(request: LaneRequest, handler: Dispatcher.DispatchHandler): unknown };
  /** What holds its bytes back; none: the dispatcher's own controller does. */
  valve: Pick<Valve, 'pause' | 'resume'> | undefined;
  /** Whether a request was answered over it: then the server may have closed it since. */
  used: boolean;
  destroy(): void;
}

/** How long an exchange holds its connection: `long` as long as the readers of a blob's body take, `short` till its answer. */
export type ExchangeKind = 'long' | 'short';

/** How a pool behaves. */
export interface ConnectionPoolOptions {
  /** Connections at most. */
  limit: number;
  /** Ms to wait for one. */
  queueFor: number;
  /** Ms after which an unused one is closed. */
  idleFor: number;
  clock: Clock;
  open(wire: Wire): Connection;
  /** What waiting too long is refused with. @param limit the connections that such an exchange may use */
  busy(limit: number): Error;
  /** Called when a request begins to wait: a connection that is given up meanwhile is its. */
  crowded?(): void;
  /** Called when the pool has neither connections nor anyone waiting. */
  emptied(): void;
}

/** What a request waits with. */
export interface Wait {
  kind: ExchangeKind;
  wire: Wire;
  /** Whether it takes none that was used before. Default: it does. */
  fresh?: boolean;
  /** `clock.monotonic()` ms by which it gives up, should that be before `queueFor`. */
  deadlineAt: number;
  signal: AbortSignal;
}

/** The connections to one host. */
export interface ConnectionPool {
  acquire(wait: Wait): Promise<Connection>;
  /** Gives a connection back; one that is not `reusable` is closed. */
  release(connection: Connection, reusable: boolean): void;
  close(error: Error): void;
}

type Waiter = Pick<Wait, 'kind' | 'wire' | 'fresh'> & {
  give(connection: Connection): void;
  refuse(error: unknown): void;
};

// Bodies are read as slowly as a client likes: were they to hold all, nothing else could be asked.
const shareOfBodies = 3 / 4;

/** How many of a host's connections blobs' bodies may use at once. */
export const connectionsForBodies = (limit: number): number => Math.max(Math.floor(limit * shareOfBodies), 1);

/**
 * Makes a pool. It stands before undici's own queue, because that one knows no time limit and settles an aborted
 * request only when its turn has come. Some connections are kept from long exchanges, where there is more than one.
 */
export function createConnectionPool(options: ConnectionPoolOptions): ConnectionPool {
  const open = new Set<Connection>();
  const idle: { connection: Connection; cancelTimer: () => void }[] = [];
  const limits = { short: options.limit, long: connectionsForBodies(options.limit) };
  /** Those in long exchanges. */
  const long = new Set<Connection>();
  // A set: first come, first served, and whoever gives up leaves at no cost.
  const waiters = new Set<Waiter>();

  const mayHave = (kind: ExchangeKind) => kind === 'short' || long.size < limits.long;

  function take(connection: Connection, kind: ExchangeKind): Connection {
    if (kind === 'long') long.add(connection);
    return connection;
  }

  function openOne(wire: Wire): Connection {
    const connection = options.open(wire);
    open.add(connection);
    return connection;
  }

  function drop(connection: Connection): void {
    open.delete(connection);
    long.delete(connection);
    connection.destroy();
    const next = nextWaiter();
    if (next) next.give(openOne(next.wire));
    else if (open.size === 0) options.emptied();
  }

  /** Whoever has waited longest of those that may have a connection now. */
  function nextWaiter(): Waiter | undefined {
    for (const waiter of waiters) if (mayHave(waiter.kind)) return waiter;
    return undefined;
  }

  /** The one used last: the others may fall idle and close. */
  function takeIdle(fits: (connection: Connection) => boolean): Connection | undefined {
    const at = idle.findLastIndex(({ connection }) => fits(connection));
    const [free] = at < 0 ? [] : idle.splice(at, 1);
    free?.cancelTimer();
    return free?.connection;
  }

  function wait({ kind, wire, fresh = false, deadlineAt, signal }: Wait): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        waiters.delete(waiter);
        cancelTimer();
        signal.removeEventListener('abort', onAbort);
        act();
      };
      const waiter: Waiter = {
        kind,
        wire,
        fresh,
        give: (connection) => settle(() => resolve(take(connection, kind))),
        refuse: (error) => settle(() => reject(error)),
      };
      const onAbort = () => waiter.refuse(signal.reason);
      const ms = Math.min(options.queueFor, deadlineAt - options.clock.monotonic());
      const cancelTimer = options.clock.after(ms, () => waiter.refuse(options.busy(limits[kind])));
      signal.addEventListener('abort', onAbort, { once: true });
      waiters.add(waiter);
      options.crowded?.();
    });
  }

  return {
    async acquire(request) {
      request.signal.throwIfAborted();
      const { kind, wire, fresh = false } = request;
      if (!mayHave(kind)) return wait(request);
      const free = takeIdle((connection) => connection.wire === wire && !fresh);
      if (free) return take(free, kind);
      if (open.size >= options.limit) {
        // One that does not fit has to make room.
        const other = takeIdle(() => true);
        if (!other) return wait(request);
        open.delete(other);
        other.destroy();
      }
      return take(openOne(wire), kind);
    },
    release(connection, reusable) {
      if (!open.has(connection)) return;
      if (!reusable) {
        drop(connection);
        return;
      }
      connection.used = true;
      long.delete(connection);
      const next = nextWaiter();
      if (next?.wire === connection.wire && !next.fresh) return next.give(connection);
      // Whoever waits takes its place.
      if (next) return drop(connection);
      const entry = {
        connection,
        cancelTimer: options.clock.after(options.idleFor, () => {
          const at = idle.indexOf(entry);
          if (at >= 0) idle.splice(at, 1);
          drop(connection);
        }),
      };
      idle.push(entry);
    },
    close(error) {
      for (const waiter of waiters) waiter.refuse(error);
      for (const entry of idle.splice(0)) entry.cancelTimer();
      for (const connection of open) drop(connection);
    },
  };
}
