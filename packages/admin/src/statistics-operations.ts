import type { Operation } from './operation.ts';
import { count, instant, listOf, record, type Schema, text } from './schema.ts';
import type { Statistics, UpstreamCounts } from './statistics.ts';
import { upstreamStatusSchema } from './upstream-schemas.ts';

const counted = (description: string): Schema => ({ ...count, description });

const counts: Readonly<Record<keyof UpstreamCounts, Schema>> = {
  requests: counted('Requests of clients for manifests, blobs and lists'),
  hits: counted('Answered without asking the upstream'),
  forwards: counted('The upstream was asked, or they waited for somebody else’s question'),
  collapsed: counted('Of the forwards, those that waited for somebody else’s question'),
  stale: counted('Answered with what is stored although it could not be found right'),
  errors: counted('Answered with 5xx'),
  bytesServed: counted('Of bodies that were sent to clients'),
  bytesReceived: counted('Of bodies that the upstream sent'),
  bytesSaved: counted('By how much the first is more than the second'),
  upstreamRequests: counted('Requests that were sent to the upstream'),
  upstreamErrors: counted('Of these, those that could not say'),
};

const statisticsSchema = record(
  {
    since: { ...instant, description: 'Since when it is counted, in milliseconds since the epoch' },
    total: record(counts),
    upstreams: listOf(record({ key: text, ...counts, status: upstreamStatusSchema })),
    storedBytes: { ...count, description: 'Bytes that are stored; missing where no `maxBytes` has them counted' },
  },
  { title: 'Statistics', optional: ['storedBytes'] },
);

/** What was counted. */
export function statisticsOperations(statistics: Pick<Statistics, 'read'>): readonly Operation[] {
  return [
    {
      id: 'statistics.get',
      method: 'GET',
      path: '/statistics',
      summary: 'What this process did since it made the operations API, and how the upstreams are doing.',
      answers: { 200: { description: 'It', schema: statisticsSchema } },
      run: () => ({ status: 200, json: statistics.read() }),
    },
  ];
}
