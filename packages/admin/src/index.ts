export { type Admin, createAdmin } from './admin.ts';
export type { AdminOptions } from './admin-options.ts';
export type { AdminQuestion, AuthorizeAdmin } from './authorize.ts';
export { createMetrics, type Metrics, type MetricsOptions, type ObservedCache } from './metrics.ts';
export type { MetricsClient } from './metrics-client.ts';
export { type OpenTelemetryOptions, openTelemetry } from './open-telemetry.ts';
export type { OpenTelemetryApi } from './open-telemetry-api.ts';
export type { Problem } from './problem.ts';
export {
  createStatistics,
  type Statistics,
  type StatisticsReport,
  type UpstreamCounts,
  type UpstreamStatistics,
} from './statistics.ts';
