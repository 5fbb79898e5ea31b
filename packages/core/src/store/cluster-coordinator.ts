import { type Clock, systemClock } from '../runtime/clock.ts';
import { type Duration, parseDuration } from '../runtime/duration.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createClusterCalls, type PrimaryPort } from './cluster-calls.ts';
import { createClusterLeases } from './cluster-leases.ts';
import type { Coordinator } from './coordinator.ts';

/** Options of {@link clusterCoordinator}. */
export interface ClusterCoordinatorOptions {
  /** Workers share leases and messages with those of the same name. Default: `proxycache`. */
  name?: string;
  /** How long the primary may take to answer. Default: 1 s. */
  answerWithin?: Duration;
  /** Default: the machine's clock. */
  clock?: Clock;
}

/** A coordinator of the workers of one primary. */
export interface ClusterCoordinator extends Coordinator {
  /** Gives back its leases and listens no more. */
  close(): Promise<void>;
}

const longestDeadlineMs = 60_000;

/**
 * A coordinator for the workers of a primary of `node:cluster`, which has to call {@link serveClusterCoordinator}. A lease
 * ends with its worker, at once: when it exits, is killed or disconnects; of one that stands still it is lost after
 * `for`. A primary that does not answer in time fails the call; after three in a row it is left alone for 10 s. Tokens rise with
 * every lease, also over restarts of the primary, as far as the machine's clock does. Messages reach the workers that
 * listen; to one that stands still only the first thousand are kept.
 *
 * @throws ProxyCacheError `invalid-options`, also in a process that has no primary
 */
export function clusterCoordinator(options: ClusterCoordinatorOptions = {}): ClusterCoordinator {
  if (process.send === undefined) {
    throw new ProxyCacheError(
      'invalid-options',
      'clusterCoordinator: this process has no primary; it is for the workers that cluster.fork() of node:cluster starts',
    );
  }
  return coordinatorOver(process as PrimaryPort, options);
}

/** A coordinator over any channel to where leases are kept. */
export function coordinatorOver(port: PrimaryPort, options: ClusterCoordinatorOptions): ClusterCoordinator {
  const { name = 'proxycache', answerWithin = '1s', clock = systemClock } = options;
  if (typeof name !== 'string' || name === '') {
    throw new ProxyCacheError(
      'invalid-options',
      `clusterCoordinator: name: expected text, received ${JSON.stringify(name)}`,
    );
  }
  const channels = new Map<string, Set<(message: string) => void>>();
  const calls = createClusterCalls(port, {
    clock,
    answerWithinMs: deadlineOf(answerWithin),
    onMessage: (channel, message) => deliver(channels.get(channel), message),
    onEnd: (error) => leases.loseAll(error),
  });
  const leases = createClusterLeases(calls, clock);
  const named = (text: string) => `${name}/${text}`;

  return {
    acquire: (key, given) => leases.acquire(named(key), given),
    async holder(key) {
      const value = await calls.ask({ call: 'holder', key: named(key) });
      return value === undefined ? undefined : String(value);
    },
    async publish(channel, message) {
      await calls.ask({ call: 'publish', channel: named(channel), message });
    },
    subscribe(channel, fn) {
      const place = named(channel);
      // Wrapped, so that the same function can be subscribed twice and ended once.
      const subscriber = (message: string) => fn(message);
      const subscribers = channels.get(place) ?? new Set();
      channels.set(place, subscribers.add(subscriber));
      if (subscribers.size === 1) void calls.tell({ call: 'subscribe', channel: place });
      return () => {
        if (!subscribers.delete(subscriber) || subscribers.size > 0) return;
        channels.delete(place);
        void calls.tell({ call: 'unsubscribe', channel: place });
      };
    },
    async close() {
      channels.clear();
      leases.close();
      await calls.end();
    },
  };
}

function deliver(subscribers: ReadonlySet<(message: string) => void> | undefined, message: string): void {
  for (const subscriber of [...(subscribers ?? [])]) {
    try {
      subscriber(message);
    } catch {
      // One subscriber's failure is not the others'.
    }
  }
}

function deadlineOf(answerWithin: Duration): number {
  const ms = parseDuration(answerWithin);
  if (ms >= 1 && ms <= longestDeadlineMs) return ms;
  throw new ProxyCacheError(
    'invalid-options',
    `clusterCoordinator: answerWithin: expected 1 ms to 60 s, received ${JSON.stringify(answerWithin)}`,
  );
}
