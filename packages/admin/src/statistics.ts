import type { ProxyCache, ProxyCacheEvent, UpstreamStatus } from '@proxycache/core';

/** What was counted of an upstream since the statistics began. */
export interface UpstreamCounts {
  /** Requests of clients for what is the upstream's: manifests, blobs and lists. */
  requests: number;
  /** Answered without asking the upstream. */
  hits: number;
  /** The upstream was asked for them, or they waited for somebody else's question. */
  forwards: number;
  /** Of these, those that waited for somebody else's question. */
  collapsed: number;
  /** Answered with what is stored although it could not be found right. */
  stale: number;
  /** Answered with 5xx. */
  errors: number;
  /** Of bodies that were sent to clients. */
  bytesServed: number;
  /** Of bodies that the upstream sent. */
  bytesReceived: number;
  /** By how much the first is more than the second; 0 where it is not. */
  bytesSaved: number;
  /** Requests that were sent to the upstream, its token service, or where it redirects to. */
  upstreamRequests: number;
  /** Of these, those that could not say: no connection, too late, 5xx, 429. */
  upstreamErrors: number;
}

/** An upstream: what was counted, and how it is doing now. */
export interface UpstreamStatistics extends UpstreamCounts {
  key: string;
  status: UpstreamStatus;
}

/** What a cache did since the statistics began, and how it is doing. */
export interface StatisticsReport {
  /** When it began, in ms since the epoch. */
  since: number;
  /** All upstreams, those that are gone included. */
  total: UpstreamCounts;
  /** The upstreams that there are. */
  upstreams: readonly UpstreamStatistics[];
  /** See `cache.storedBytes()`. */
  storedBytes?: number;
}

/** Counts what a cache does. */
export interface Statistics {
  read(): StatisticsReport;
  /** Counts no more. The last counts can still be read. */
  close(): void;
}

/**
 * Counts what a cache does from now on, for as long as it lives or until it is closed. What is counted is in memory, of this
 * process alone, and gone with it.
 */
export function createStatistics(
  cache: Pick<ProxyCache, 'observe' | 'storedBytes'> & { upstreams: Pick<ProxyCache['upstreams'], 'status'> },
  { now = Date.now }: { now?: () => number } = {},
): Statistics {
  const since = now();
  const total = noCounts();
  const byUpstream = new Map<string, UpstreamCounts>();

  function countsOf(key: string): UpstreamCounts {
    const known = byUpstream.get(key);
    if (known) return known;
    const counts = noCounts();
    byUpstream.set(key, counts);
    return counts;
  }

  const leave = cache.observe((event) => {
    if (!('upstream' in event) || event.upstream === undefined) return;
    switch (event.type) {
      case 'request':
      case 'response-ended':
      case 'upstream-request':
      case 'upstream-received':
        count(total, event);
        count(countsOf(event.upstream), event);
    }
  });

  return {
    read() {
      const status = cache.upstreams.status();
      const keys = new Set(status.map(({ key }) => key));
      // Of those that were removed nobody asks.
      for (const key of byUpstream.keys()) if (!keys.has(key)) byUpstream.delete(key);
      const storedBytes = cache.storedBytes();
      return {
        since,
        total: withSaved(total),
        upstreams: status.map((one) => ({ key: one.key, ...withSaved(countsOf(one.key)), status: one })),
        ...(storedBytes !== undefined && { storedBytes }),
      };
    },
    close: leave,
  };
}

type Counted = Extract<
  ProxyCacheEvent,
  { type: 'request' | 'response-ended' | 'upstream-request' | 'upstream-received' }
>;

function count(counts: UpstreamCounts, event: Counted): void {
  switch (event.type) {
    case 'request': {
      const { status, cacheStatus, bytes = 0 } = event;
      counts.requests++;
      counts.bytesServed += bytes;
      if (status >= 500) counts.errors++;
      if (cacheStatus?.hit) counts.hits++;
      else if (cacheStatus) counts.forwards++;
      if (cacheStatus?.collapsed) counts.collapsed++;
      if (cacheStatus?.detail?.startsWith('stale-')) counts.stale++;
      break;
    }
    case 'response-ended':
      counts.bytesServed += event.bytes;
      break;
    case 'upstream-request':
      counts.upstreamRequests++;
      if (event.error !== undefined || (event.status ?? 0) >= 500 || event.status === 429) counts.upstreamErrors++;
      break;
    case 'upstream-received':
      counts.bytesReceived += event.bytes;
  }
}

function noCounts(): UpstreamCounts {
  return {
    requests: 0,
    hits: 0,
    forwards: 0,
    collapsed: 0,
    stale: 0,
    errors: 0,
    bytesServed: 0,
    bytesReceived: 0,
    bytesSaved: 0,
    upstreamRequests: 0,
    upstreamErrors: 0,
  };
}

function withSaved(counts: UpstreamCounts): UpstreamCounts {
  return { ...counts, bytesSaved: Math.max(counts.bytesServed - counts.bytesReceived, 0) };
}
