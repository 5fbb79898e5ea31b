export { type Admin, createAdmin } from './admin.ts';
export type { AdminOptions } from './admin-options.ts';
export type { AdminQuestion, AuthorizeAdmin } from './authorize.ts';
export { createMetrics, type Metrics, type MetricsClient, type MetricsOptions, type ObservedCache } from './metrics.ts';
export { type OpenTelemetryApi, type OpenTelemetryOptions, openTelemetry } from './open-telemetry.ts';
export type { Problem } from './problem.ts';
export {
  createStatistics,
  type Statistics,
  type StatisticsReport,
  type UpstreamCounts,
  type UpstreamStatistics,
} from './statistics.ts';
