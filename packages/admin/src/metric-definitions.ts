/** A metric of a cache. */
export interface MetricDefinition {
  /** Behind the prefix. */
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  /** All of them from short lists, or keys of upstreams and groups: no client can make up a value. */
  labels: readonly string[];
}

/** What the code calls a metric. */
export type MetricId =
  | 'requests'
  | 'requestSeconds'
  | 'defects'
  | 'sentBytes'
  | 'brokenOff'
  | 'upstreamRequests'
  | 'upstreamSeconds'
  | 'receivedBytes'
  | 'retries'
  | 'breakerState'
  | 'rateLimit'
  | 'rateLimitLeft'
  | 'ingests'
  | 'runningIngests'
  | 'passedThrough'
  | 'quotaExceeded'
  | 'storedBytes'
  | 'removedBytes'
  | 'storeFailures'
  | 'coordinatorFailures'
  | 'waitingUploads'
  | 'quarantined'
  | 'admissions'
  | 'accessFailures';

const definition =
  (type: MetricDefinition['type']) =>
  (name: string, labels: readonly string[], help: string): MetricDefinition => ({ name, type, help, labels });
const counter = definition('counter');
const gauge = definition('gauge');
const histogram = definition('histogram');

/** Every metric, by what the code calls it. Names by Prometheus' conventions: base units, `_total` for what only rises. */
export const metricDefinitions: Readonly<Record<MetricId, MetricDefinition>> = {
  requests: counter(
    'requests_total',
    ['upstream', 'kind', 'status', 'cache'],
    'Requests that were answered; status is a class such as 2xx, cache how the answer came about.',
  ),
  requestSeconds: histogram('request_duration_seconds', ['kind', 'cache'], 'From a request to the head of its answer.'),
  defects: counter('defects_total', [], 'Requests that failed by a defect of the cache or of a store.'),
  sentBytes: counter(
    'response_bytes_total',
    ['upstream', 'kind', 'cache'],
    'Bytes of bodies that were sent to clients.',
  ),
  brokenOff: counter('responses_broken_off_total', ['upstream'], 'Blobs of which not all that was asked for was sent.'),
  upstreamRequests: counter(
    'upstream_requests_total',
    ['upstream', 'operation', 'result'],
    'Requests sent upstream; result is a class of status such as 2xx, or the code of what went wrong.',
  ),
  upstreamSeconds: histogram(
    'upstream_request_duration_seconds',
    ['operation'],
    'From a request upstream to the head of its answer.',
  ),
  receivedBytes: counter(
    'upstream_received_bytes_total',
    ['upstream', 'operation'],
    'Bytes of bodies that came from an upstream.',
  ),
  retries: counter('upstream_retries_total', ['upstream', 'reason'], 'Requests upstream that were sent again.'),
  breakerState: gauge(
    'upstream_breaker_state',
    ['upstream', 'state'],
    '1 for the state that an upstream is in: closed (it is asked), half-open, open (it is not).',
  ),
  rateLimit: gauge('upstream_rate_limit', ['upstream'], 'Pulls that an upstream allows within its window.'),
  rateLimitLeft: gauge('upstream_rate_limit_remaining', ['upstream'], 'Pulls of those that are left.'),
  ingests: counter(
    'ingests_total',
    ['upstream', 'outcome'],
    'Blobs that came in: stored, queued, unstored, refused or failed.',
  ),
  runningIngests: gauge('ingests_running', ['upstream'], 'Blobs that are coming in.'),
  passedThrough: counter('passed_through_total', ['upstream', 'reason'], 'Blobs that were served and not stored.'),
  quotaExceeded: counter(
    'quota_exceeded_total',
    ['upstream', 'of'],
    'How often maxBytes had no room; once a minute at most.',
  ),
  storedBytes: gauge('stored_bytes', [], 'Bytes that are stored, where maxBytes has them counted.'),
  removedBytes: counter('removed_bytes_total', ['reason'], 'Bytes that retention let go of.'),
  storeFailures: counter('store_failures_total', ['operation'], 'What a store could not do.'),
  coordinatorFailures: counter('coordinator_failures_total', [], 'How often the coordinator stopped answering.'),
  waitingUploads: gauge(
    'uploads_waiting',
    [],
    'Blobs that wait on the local disk for a store that does not take them.',
  ),
  quarantined: counter('blobs_quarantined_total', ['reason'], 'Stored blobs that were wrong or unreadable.'),
  admissions: counter('admissions_total', ['upstream', 'decision'], 'Manifests that were judged.'),
  accessFailures: counter('access_failures_total', ['hook'], 'Hooks that could not say who may pull.'),
};
