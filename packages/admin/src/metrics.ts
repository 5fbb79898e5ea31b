import { type ProxyCache, ProxyCacheError, type UpstreamStatus } from '@proxycache/core';
import { countEvents } from './count-events.ts';
import { createDurations, type Durations, type HistogramLine } from './durations.ts';
import { type MetricDefinition, type MetricId, metricDefinitions } from './metric-definitions.ts';
import type { MetricsClient } from './metrics-client.ts';
import { createTally, type Tally } from './tally.ts';

/** Options of {@link createMetrics}. */
export interface MetricsOptions {
  /** The module `prom-client`: `import * as client from 'prom-client'`. */
  client: MetricsClient;
  /** What each name begins with. Default `proxycache_`. */
  prefix?: string;
  /** Whether metrics of the process are there too: memory, processor, event loop. For one of several in a process. Default false. */
  ofProcess?: boolean;
}

/** The metrics of one cache, in a registry of their own. */
export interface Metrics {
  contentType: string;
  /** As Prometheus reads them. */
  text(): Promise<string>;
  /** Counts no more. The last numbers can still be read. */
  close(): void;
}

/** What is counted. */
export type ObservedCache = Pick<ProxyCache, 'observe' | 'storedBytes'> & {
  upstreams: Pick<ProxyCache['upstreams'], 'status'>;
};

// Of answers from memory, and of those that waited for a slow upstream.
const buckets = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60];

/**
 * Counts what a cache does, for Prometheus. Labels are keys of upstreams and groups and words from short lists, never a repository or
 * anything else that a client can make up.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function createMetrics(
  cache: ObservedCache,
  { client, prefix = 'proxycache_', ofProcess = false }: MetricsOptions,
): Metrics {
  checkClient(client);
  if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(prefix)) {
    throw wrong(`prefix: expected a name such as "proxycache_", received ${JSON.stringify(prefix)}`);
  }
  const registry = new client.Registry();
  const tallies = new Map<string, Tally>();
  const histograms = new Map<string, Durations>();

  for (const [id, definition] of Object.entries<MetricDefinition>(metricDefinitions)) {
    const { name, type, help, labels } = definition;
    const about = { name: `${prefix}${name}`, help, labelNames: [...labels], registers: [registry as never] };
    if (type === 'histogram') {
      const durations = createDurations(about.name, labels, buckets);
      histograms.set(id, durations);
      registry.registerMetric(readAs({ ...about, type }, () => durations.lines()));
      continue;
    }
    const tally = createTally(labels);
    tallies.set(id, tally);
    // Filled when somebody reads, so that to count costs a pull next to nothing.
    const fill = (set: (labels: Record<string, string>, value: number) => void) => {
      for (const one of readNow(id, cache) ?? tally.series()) set(one.labels, one.value);
    };
    if (type === 'counter') {
      new client.Counter({
        ...about,
        collect() {
          this.reset();
          fill((of, value) => this.inc(of, value));
        },
      });
    } else {
      new client.Gauge({
        ...about,
        collect() {
          this.reset();
          // It would be 0 where nothing is known.
          if (labels.length === 0) this.remove();
          fill((of, value) => this.set(of, value));
        },
      });
    }
  }
  if (ofProcess) client.collectDefaultMetrics({ register: registry as never });

  // Of these nobody asks any more. What ends late may still be counted.
  const removed = new Set<string>();

  function forgetRemoved(): void {
    for (const [id, tally] of tallies) {
      const definition: MetricDefinition = metricDefinitions[id as MetricId];
      if (definition.labels[0] === 'upstream') tally.forget(removed);
    }
  }

  const count = countEvents({
    add: (id, labels, amount) => tallies.get(id)?.add(labels, amount),
    took: (id, labels, seconds) => histograms.get(id)?.add(labels, seconds),
  });
  const leave = cache.observe((event) => {
    count(event);
    if (event.type !== 'upstream-changed') return;
    if (event.change === 'removed') {
      removed.add(event.upstream);
      forgetRemoved();
    } else removed.delete(event.upstream);
  });
  return {
    contentType: registry.contentType,
    async text() {
      forgetRemoved();
      return await registry.metrics();
    },
    close: leave,
  };
}

/** What a registry reads of a metric: the lines of now. */
function readAs(about: { name: string; help: string; type: string }, lines: () => HistogramLine[]): never {
  const { name, help, type } = about;
  const metric = {
    ...about,
    get: async () => ({ name, help, type, aggregator: 'sum', values: lines() }),
    reset: () => undefined,
  };
  return metric as never;
}

type Series = ReturnType<Tally['series']>;

/** The gauges that are not counted but read, from memory. `undefined`: it is counted. */
function readNow(id: string, cache: ObservedCache): Series | undefined {
  const ofUpstreams = (read: (status: UpstreamStatus) => Series) => cache.upstreams.status().flatMap(read);
  switch (id) {
    case 'storedBytes': {
      const value = cache.storedBytes();
      return value === undefined ? [] : [{ labels: {}, value }];
    }
    case 'breakerState':
      return ofUpstreams(({ key, state }) =>
        states.map((one) => ({ labels: { upstream: key, state: one }, value: one === state ? 1 : 0 })),
      );
    case 'rateLimit':
    case 'rateLimitLeft':
      return ofUpstreams(({ key, rateLimit }) => {
        if (!rateLimit) return [];
        return [{ labels: { upstream: key }, value: id === 'rateLimit' ? rateLimit.limit : rateLimit.remaining }];
      });
  }
  return undefined;
}

const states: readonly UpstreamStatus['state'][] = ['closed', 'half-open', 'open'];

function checkClient(client: unknown): asserts client is MetricsClient {
  const isModule = typeof client === 'object' && client !== null && 'Registry' in client && 'Counter' in client;
  if (isModule) return;
  const received = client === undefined ? 'nothing' : `something else (${typeof client})`;
  throw wrong(
    `client: expected the module prom-client, received ${received}; install it (npm install prom-client) and pass it: import * as client from 'prom-client'`,
  );
}

const wrong = (what: string) => new ProxyCacheError('invalid-options', `createMetrics: ${what}`);
