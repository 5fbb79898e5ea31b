import cluster, { type Worker } from 'node:cluster';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { type ClusterMembers, createClusterMembers } from './cluster-members.ts';
import { isToPrimary, type ToWorker } from './cluster-messages.ts';
import { createLeaseTable } from './lease-table.ts';

/** Options of {@link serveClusterCoordinator}. */
export interface ServeClusterCoordinatorOptions {
  /** Default: the machine's clock. */
  clock?: Clock;
}

/** Messages that a worker has not read yet, over which it gets no more of what others publish: it stands still. */
const mostUnread = 1_000;

/**
 * Answers each {@link clusterCoordinator} of the workers of this process, a primary of `node:cluster`, from now on: to be
 * called once, before the first `fork`. A worker's leases end when it exits or disconnects, however it does, and when it
 * has not renewed them in time. What other messages the host sends its workers, and they it, is left alone.
 *
 * @returns what ends it
 * @throws ProxyCacheError `invalid-options` in a worker
 */
export function serveClusterCoordinator({ clock = systemClock }: ServeClusterCoordinatorOptions = {}): () => void {
  if (!cluster.isPrimary) {
    throw new ProxyCacheError(
      'invalid-options',
      'serveClusterCoordinator: this is a worker; call it in the primary, before it forks',
    );
  }
  const table = createLeaseTable(clock);
  const members = new Map<Worker, ClusterMembers>();

  function join(worker: Worker): ClusterMembers {
    const joined = createClusterMembers(table, createSend(worker));
    members.set(worker, joined);
    return joined;
  }

  const onMessage = (worker: Worker, message: unknown) => {
    // One whose end was told already shall hold nothing any more.
    if (!isToPrimary(message) || !worker.isConnected()) return;
    const answer = (members.get(worker) ?? join(worker)).answer(message);
    // A channel that closed meanwhile needs no answer: its end is told by itself.
    worker.send(answer, () => undefined);
  };
  const onEnd = (worker: Worker) => {
    members.get(worker)?.leave();
    members.delete(worker);
  };
  cluster.on('message', onMessage);
  cluster.on('disconnect', onEnd);
  cluster.on('exit', onEnd);
  return () => {
    cluster.off('message', onMessage);
    cluster.off('disconnect', onEnd);
    cluster.off('exit', onEnd);
  };
}

function createSend(worker: Worker): (message: ToWorker) => void {
  let unread = 0;
  return (message) => {
    if (unread >= mostUnread) return;
    unread++;
    worker.send(message, () => {
      unread--;
    });
  };
}
