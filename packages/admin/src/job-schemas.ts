import { problemSchema } from './problem.ts';
import { purgeReportSchema, purgeSchema } from './purge-schemas.ts';
import { count, flag, instant, listOf, record, type Schema, text, word } from './schema.ts';

const removal = record(
  {
    kind: word('tag', 'manifest', 'blob', 'file'),
    upstream: text,
    repository: text,
    tagOrDigest: text,
    usedAt: instant,
    bytes: count,
    reason: text,
  },
  { optional: ['upstream', 'repository', 'usedAt', 'bytes'] },
);

const sweepReport = record(
  {
    dryRun: flag,
    elsewhere: { ...flag, description: 'Another process that shares the storage is at it: nothing was done here' },
    repositories: { ...count, description: 'Repositories that were looked at' },
    tags: count,
    manifests: count,
    blobs: count,
    files: { ...count, description: 'What left the store' },
    bytes: count,
    removals: listOf(removal, { description: 'The first 1,000' }),
    paused: listOf(text, { description: 'Upstreams whose content stays, as they fail' }),
    unread: listOf(record({ upstream: text, repository: text }), { description: 'Repositories that stay whole' }),
    durationMs: { type: 'number' },
  },
  { title: 'SweepReport', description: 'What a sweep removed, or of a dry run would have' },
);

const scrubReport = record(
  {
    blobs: record({
      checked: count,
      bytes: count,
      flawed: count,
      wrong: listOf(record({ digest: text, size: count, reason: text, quarantined: flag }), {
        description: 'The first 1,000',
      }),
    }),
    records: record({ checked: count, damaged: count }),
    durationMs: { type: 'number' },
  },
  { title: 'ScrubReport', description: 'What a scrub found' },
);

const warmProgress = record(
  {
    references: record({ total: count, done: count, failed: count }),
    contents: record({ known: count, done: count }, { description: 'Manifests and blobs, as far as they are known' }),
    bytes: record({ known: count, done: count }),
    durationMs: { type: 'number' },
  },
  { title: 'WarmProgress' },
);

const warmReport = record(
  {
    references: listOf(
      record(
        {
          reference: text,
          outcome: { ...word('stored', 'here', 'failed'), description: '`here`: all of it was stored before' },
          digest: text,
          bytes: { ...count, description: 'That came in for it' },
          error: record({ code: text, message: text }),
          failures: count,
          waiting: { ...count, description: 'Blobs that wait on the local disk for the store' },
          warning: text,
        },
        { optional: ['digest', 'error', 'failures', 'waiting', 'warning'] },
      ),
    ),
    failed: count,
    bytes: count,
    durationMs: { type: 'number' },
  },
  { title: 'WarmReport' },
);

/** What a job is asked for: `kind` says which. */
export const askedSchema: Schema = {
  title: 'JobRequest',
  anyOf: [
    record(
      {
        kind: word('sweep'),
        dryRun: { ...flag, description: 'Tells what would go, and removes nothing', default: false },
      },
      { optional: ['dryRun'] },
    ),
    record(
      {
        kind: word('scrub'),
        bytesPerSecond: { type: 'integer', minimum: 1, description: 'Reads no more of blobs than this' },
      },
      { optional: ['bytesPerSecond'] },
    ),
    record({ kind: word('purge'), what: purgeSchema }),
    record(
      {
        kind: word('warm'),
        references: listOf(
          { type: 'string', minLength: 1, maxLength: 512 },
          {
            minItems: 1,
            maxItems: 1000,
            description: 'Each with the key of its upstream: `docker-hub/library/alpine:3`',
          },
        ),
        platforms: listOf(
          { type: 'string', minLength: 1, maxLength: 255 },
          {
            minItems: 1,
            maxItems: 100,
            description: '`linux/amd64`; all, where none are given',
          },
        ),
        concurrency: { type: 'integer', minimum: 1, maximum: 64, default: 4 },
      },
      { optional: ['platforms', 'concurrency'] },
    ),
  ],
};

const fields: Readonly<Record<string, Schema>> = {
  id: { ...text, format: 'uuid' },
  kind: word('sweep', 'scrub', 'purge', 'warm'),
  asked: askedSchema,
  state: word('running', 'cancelling', 'finished', 'failed', 'cancelled'),
  startedAt: instant,
  endedAt: instant,
};

/** A job in a list. */
export const jobSummarySchema: Schema = record(fields, { title: 'JobSummary', optional: ['endedAt'] });

export const jobSchema: Schema = record(
  {
    ...fields,
    progress: {
      anyOf: [sweepReport, scrubReport, purgeReportSchema, warmProgress],
      description: 'How far it has come, while it runs',
    },
    report: {
      anyOf: [sweepReport, scrubReport, purgeReportSchema, warmReport],
      description: 'What came of it, once it has finished',
    },
    problem: problemSchema,
  },
  { title: 'Job', optional: ['endedAt', 'progress', 'report', 'problem'] },
);
