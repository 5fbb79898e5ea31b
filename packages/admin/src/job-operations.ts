import type { ProxyCache, Purge } from '@proxycache/core';
import { askedSchema, jobSchema, jobSummarySchema } from './job-schemas.ts';
import type { Job, Jobs, Work } from './jobs.ts';
import { inPath, type Operation } from './operation.ts';
import { listOf, record } from './schema.ts';

/** What {@link askedSchema} lets through. */
type Asked =
  | { kind: 'sweep'; dryRun?: boolean }
  | { kind: 'scrub'; bytesPerSecond?: number }
  | { kind: 'purge'; what: Purge }
  | { kind: 'warm'; references: readonly string[]; platforms?: readonly string[]; concurrency?: number };

const id = inPath('id', 'As the job was given it when it was started');

/** What goes on when its request has been answered: sweeps, scrubs, purges, and images that are fetched. */
export function jobOperations(
  cache: Pick<ProxyCache, 'sweep' | 'scrub' | 'purge' | 'warm'>,
  jobs: Jobs,
): readonly Operation[] {
  function workOf(asked: Asked): Work {
    switch (asked.kind) {
      case 'sweep':
        return ({ signal, tell }) => cache.sweep({ ...withoutKind(asked), signal, onProgress: tell });
      case 'scrub':
        return ({ signal, tell }) => cache.scrub({ ...withoutKind(asked), signal, onProgress: tell });
      case 'purge':
        return ({ signal, tell }) => cache.purge(asked.what, { signal, onProgress: tell });
      case 'warm': {
        const { references, ...how } = withoutKind(asked);
        return ({ signal, tell }) => cache.warm(references, { ...how, signal, onProgress: tell });
      }
    }
  }

  return [
    {
      id: 'jobs.list',
      method: 'GET',
      path: '/jobs',
      summary: 'Lists the jobs of this process, the newest first: those that run, and the last 50 that ended.',
      answers: { 200: { description: 'They', schema: record({ jobs: listOf(jobSummarySchema) }) } },
      run: () => ({ status: 200, json: { jobs: jobs.list().map(summaryOf) } }),
    },
    {
      id: 'jobs.start',
      method: 'POST',
      path: '/jobs',
      summary: 'Starts a job. It goes on when whoever started it has left.',
      body: askedSchema,
      answers: { 202: { description: 'It runs; Location says where it is', schema: jobSchema } },
      run({ body, at }) {
        const asked = body as Asked;
        const job = jobs.start(asked.kind, asked, workOf(asked));
        return { status: 202, json: job, headers: { location: `${at}/jobs/${job.id}` } };
      },
    },
    {
      id: 'jobs.get',
      method: 'GET',
      path: '/jobs/{id}',
      summary: 'Tells how far a job has come, and what came of it.',
      parameters: [id],
      answers: { 200: { description: 'The job', schema: jobSchema } },
      run: ({ path }) => ({ status: 200, json: jobs.get(path['id'] ?? '') }),
    },
    {
      id: 'jobs.cancel',
      method: 'DELETE',
      path: '/jobs/{id}',
      summary: 'Has a job end soon. Called again, or of a job that has ended, it changes nothing.',
      parameters: [id],
      answers: { 202: { description: 'The job; it is `cancelled` when it has ended', schema: jobSchema } },
      run: ({ path }) => ({ status: 202, json: jobs.cancel(path['id'] ?? '') }),
    },
  ];
}

function summaryOf({ id, kind, asked, state, startedAt, endedAt }: Job): Omit<Job, 'progress' | 'report' | 'problem'> {
  return { id, kind, asked, state, startedAt, ...(endedAt !== undefined && { endedAt }) };
}

function withoutKind<T extends { kind: string }>({ kind: _kind, ...how }: T): Omit<T, 'kind'> {
  return how;
}
