import { randomUUID } from 'node:crypto';
import { type Clock, ProxyCacheError } from '@proxycache/core';
import { defect, type Problem, problemOf } from './problem.ts';

/** Something that goes on when its request has been answered. */
export interface Job {
  id: string;
  kind: string;
  /** What it was asked for. */
  asked: unknown;
  state: 'running' | 'cancelling' | 'finished' | 'failed' | 'cancelled';
  startedAt: number;
  endedAt?: number;
  /** How far it has come, while it runs. */
  progress?: unknown;
  /** What came of it, once it has finished. */
  report?: unknown;
  /** Why it failed. */
  problem?: Problem;
}

/** What a job does; `tell` says how far it has come. */
export type Work = (how: { signal: AbortSignal; tell(progress: unknown): void }) => Promise<unknown>;

/** The jobs of this process: those that run, and the last that ended. */
export interface Jobs {
  /** @throws ProxyCacheError `too-many-requests` over `maxJobs` */
  start(kind: string, asked: unknown, work: Work): Job;
  /** The newest first. */
  list(): readonly Job[];
  /** @throws ProxyCacheError `name-unknown` */
  get(id: string): Job;
  /** Has it end soon; of one that ended nothing changes. @throws ProxyCacheError `name-unknown` */
  cancel(id: string): Job;
  /** Cancels them all and waits for their end. Never rejects. */
  close(): Promise<void>;
}

/** How many that ended are kept: their reports are long. */
const mostEnded = 50;
/** How long, as JSON, those that ended may be together; the last one stays whatever it is. */
const mostEndedLength = 16 * 1024 * 1024;

interface Entry {
  job: Job;
  controller: AbortController;
  done: Promise<void>;
  /** As JSON, once it has ended. */
  length: number;
}

export function createJobs({
  clock,
  maxJobs,
  onError,
}: {
  clock: Clock;
  maxJobs: number;
  onError(error: unknown): void;
}): Jobs {
  const entries = new Map<string, Entry>();
  const isRunning = ({ job }: Entry) => job.state === 'running' || job.state === 'cancelling';
  const running = () => [...entries.values()].filter(isRunning);

  function found(id: string): Entry {
    const entry = entries.get(id);
    if (entry) return entry;
    const message = `there is no job ${JSON.stringify(id.slice(0, 60))}: each process knows its own, and the last ${mostEnded} that ended, or fewer where their reports are long`;
    throw new ProxyCacheError('name-unknown', message);
  }

  /** Those that ended first go first, however long ago they were started. */
  function letGo(): void {
    const ended = [...entries.values()].filter((entry) => !isRunning(entry));
    ended.sort((one, other) => (other.job.endedAt ?? 0) - (one.job.endedAt ?? 0));
    let length = 0;
    for (const [index, entry] of ended.entries()) {
      length += entry.length;
      if (index > 0 && (index >= mostEnded || length > mostEndedLength)) entries.delete(entry.job.id);
    }
  }

  async function carriedOut(job: Job, work: Work, signal: AbortSignal): Promise<void> {
    try {
      job.report = await work({
        signal,
        tell: (progress) => {
          job.progress = progress;
        },
      });
      job.state = 'finished';
      delete job.progress;
    } catch (error) {
      job.state = signal.aborted ? 'cancelled' : 'failed';
      if (!signal.aborted) job.problem = told(error);
    }
    job.endedAt = clock.now();
    const entry = entries.get(job.id);
    if (entry) entry.length = JSON.stringify(job).length;
    letGo();
  }

  function told(error: unknown): Problem {
    const problem = problemOf(error);
    if (!problem) onError(error);
    return problem ?? defect;
  }

  function cancelled({ job, controller }: Entry): Job {
    if (job.state === 'running') {
      job.state = 'cancelling';
      controller.abort(new ProxyCacheError('aborted', 'the job was cancelled'));
    }
    return job;
  }

  return {
    start(kind, asked, work) {
      if (running().length >= maxJobs) {
        throw new ProxyCacheError('too-many-requests', `${maxJobs} jobs run already; wait for one or cancel it`);
      }
      const job: Job = { id: randomUUID(), kind, asked, state: 'running', startedAt: clock.now() };
      const controller = new AbortController();
      // In the next turn: who started it is told of it before it can have ended.
      const done = Promise.resolve().then(() => carriedOut(job, work, controller.signal));
      entries.set(job.id, { job, controller, done, length: 0 });
      return job;
    },
    list: () => [...entries.values()].map(({ job }) => job).reverse(),
    get: (id) => found(id).job,
    cancel: (id) => cancelled(found(id)),
    async close() {
      const last = running();
      for (const entry of last) cancelled(entry);
      await Promise.all(last.map(({ done }) => done));
    },
  };
}
