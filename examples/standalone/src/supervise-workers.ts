import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ProxyCacheError, systemClock } from '@proxycache/core';
import { serveClusterCoordinator } from '@proxycache/core/cluster';
import type { Logger } from 'pino';
import { createRestarts } from './restarts.ts';
import { isFromWorker, type ToWorker, type WorkerTask } from './worker-messages.ts';

/** Which workers to run. */
export interface WorkerPlan {
  count: number;
  task: WorkerTask;
  logger: Logger;
  /** Called once, when all of them listen. */
  announce(url: string): void;
}

/** Workers that run. */
export interface SupervisedWorkers {
  /**
   * Resolves when they have ended after `stop`. Rejects when one ends before all have listened, or when none serves and
   * no other can be had.
   */
  ended: Promise<void>;
  /** Lets each of them end as a server alone does. */
  stop(signal: NodeJS.Signals): void;
}

/** How long after the time that it has for that a worker that does not end is killed. */
const killAfterMs = 5_000;

/** Starts workers that share a port, and another one in the place of each that dies. */
export function superviseWorkers({ count, task, logger, announce }: WorkerPlan): SupervisedWorkers {
  const all = new Set<Worker>();
  const listening = new Set<Worker>();
  const failures = new Map<Worker, string>();
  const restarts = createRestarts();
  let stopping: NodeJS.Signals | undefined;
  let isAnnounced = false;
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let failed: ProxyCacheError | undefined;

  function killAll(): void {
    for (const worker of all) worker.process.kill('SIGKILL');
  }

  function giveUp(why: string): void {
    failed ??= new ProxyCacheError('invalid-options', why);
    killAll();
    if (all.size === 0) end();
  }

  function start(): void {
    if (stopping || failed) return;
    let worker: Worker;
    try {
      worker = cluster.fork();
    } catch (error) {
      // The system refuses a process at once, without a worker that could tell of it.
      replace(undefined, { how: error instanceof Error ? error.message : String(error) });
      return;
    }
    all.add(worker);
    worker.on('message', (message: unknown) => onMessage(worker, message));
    worker.once('exit', (code, signal) => void onExit(worker, signal || `code ${code}`));
    // It could not be started: it has no process, and its end is not told.
    worker.on('error', (error) => worker.process.pid === undefined && void onExit(worker, error.message));
  }

  function tell(worker: Worker, message: ToWorker): void {
    // One that is gone needs no word.
    worker.send(message, () => undefined);
  }

  function onMessage(worker: Worker, message: unknown): void {
    if (!isFromWorker(message)) return;
    if (message.proxycache === 'ready') {
      tell(worker, stopping ? { proxycache: 'stop', signal: stopping } : { proxycache: 'serve', task });
    } else if (message.proxycache === 'failed') {
      failures.set(worker, message.message);
    } else {
      listening.add(worker);
      restarts.served(worker.id);
      logger.info({ worker: worker.id, pid: worker.process.pid }, 'worker listens');
      if (!isAnnounced && listening.size === count) {
        isAnnounced = true;
        announce(message.url);
      }
    }
  }

  async function onExit(worker: Worker, how: string): Promise<void> {
    // What it said last may still be on its way.
    if (worker.isConnected()) await once(worker, 'disconnect');
    const failure = failures.get(worker);
    all.delete(worker);
    listening.delete(worker);
    failures.delete(worker);
    if (stopping || failed) {
      if (all.size === 0) end();
      return;
    }
    replace(worker, { how, failure });
  }

  /** @param worker none: it could not even be started */
  function replace(worker: Worker | undefined, { how, failure }: { how: string; failure?: string | undefined }): void {
    const why = failure ?? (worker ? `a worker ended with ${how} before it listened` : `no worker can start: ${how}`);
    const waitMs = isAnnounced ? restarts.ended(worker?.id) : undefined;
    if (!isAnnounced || (waitMs === undefined && listening.size === 0)) {
      giveUp(isAnnounced ? `no worker comes up any more: ${why}` : why);
      return;
    }
    const againInMs = waitMs ?? restarts.longestWaitMs;
    if (worker) {
      const { id, process } = worker;
      logger.error({ worker: id, pid: process.pid, how, failure }, 'worker ended; another takes its place');
    } else {
      logger.error({ how, againInMs }, 'no worker can be started; it is tried again');
    }
    setTimeout(start, againInMs);
  }

  serveClusterCoordinator();
  // Durations may be infinite, which JSON cannot say.
  cluster.setupPrimary({
    exec: fileURLToPath(new URL('./worker.js', import.meta.url)),
    args: [],
    serialization: 'advanced',
  });
  for (let started = 0; started < count; started++) start();

  return {
    ended: ended.then(() => {
      if (failed) throw failed;
    }),
    stop(signal) {
      stopping = signal;
      if (all.size === 0) end();
      for (const worker of all) tell(worker, { proxycache: 'stop', signal });
      systemClock.after(task.loaded.config.limits.shutdownWithin + killAfterMs, killAll);
    },
  };
}
