import type { Clock } from '../runtime/clock.ts';
import { parseDuration } from '../runtime/duration.ts';
import { type Connection, type ConnectionPool, createConnectionPool, type Wire } from './connection-pool.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/** What the pools of an upstream work with. */
export interface ConnectionPoolsParts {
  limits: Pick<UpstreamSettings['limits'], 'maxConnections' | 'queueFor'>;
  clock: Clock;
  open(url: URL, wire: Wire): Connection;
  /** What waiting too long is refused with. @param why for a message about the host */
  busy(url: URL, why: string): Error;
  /** Called when a request has to wait for a connection. */
  crowded?: (() => void) | undefined;
  /** Called with 1 when there is a pool more, with -1 when there is one less. */
  pooled?: ((change: 1 | -1) => void) | undefined;
}

/** The pools of an upstream: one for each host. */
export interface ConnectionPools {
  of(url: URL): ConnectionPool;
  close(error: Error): void;
}

// Most servers keep idle connections for a minute or more; one that was closed meanwhile is noticed and replaced.
const idleFor = 30_000;

export function createConnectionPools(parts: ConnectionPoolsParts): ConnectionPools {
  const { limits, clock, open, busy, crowded, pooled } = parts;
  const { maxConnections: limit } = limits;
  const queueFor = parseDuration(limits.queueFor);
  const pools = new Map<string, ConnectionPool>();

  function create(url: URL): ConnectionPool {
    const pool = createConnectionPool({
      limit,
      queueFor,
      idleFor,
      clock,
      open: (wire) => open(url, wire),
      busy: (most) => busy(url, `has no free connection: all ${most} ${most < limit ? 'for blobs ' : ''}are in use`),
      ...(crowded && { crowded }),
      // Redirects may lead to ever new hosts.
      emptied: () => {
        if (pools.delete(url.origin)) pooled?.(-1);
      },
    });
    pools.set(url.origin, pool);
    pooled?.(1);
    return pool;
  }

  return {
    of: (url) => pools.get(url.origin) ?? create(url),
    close(error) {
      for (const pool of pools.values()) pool.close(error);
      pools.clear();
    },
  };
}
