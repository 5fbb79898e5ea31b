// Described by what is used of it, not imported: who has no metrics needs no `prom-client`, not even for types.

/** What a counter or gauge is made with. */
interface MetricConfiguration<M> {
  name: string;
  help: string;
  labelNames: string[];
  /** Registries of the same module. */
  registers: never[];
  collect(this: M): void;
}

interface MetricsRegistry {
  contentType: string;
  metrics(): Promise<string>;
  registerMetric(metric: never): void;
}

interface Counter {
  reset(): void;
  inc(labels: Record<string, string>, value: number): void;
}

interface Gauge {
  reset(): void;
  remove(): void;
  set(labels: Record<string, string>, value: number): void;
}

/** What {@link createMetrics} takes of `prom-client`: the module is one. */
export interface MetricsClient {
  Registry: new () => MetricsRegistry;
  Counter: new (configuration: MetricConfiguration<Counter>) => unknown;
  Gauge: new (configuration: MetricConfiguration<Gauge>) => unknown;
  collectDefaultMetrics(configuration: { register: never }): unknown;
}
