import { AsyncLocalStorage } from 'node:async_hooks';
import type { Coordinator, MetadataStore } from '@proxycache/core';

/** How a call of the metadata went. */
interface TracedCall {
  operation: string;
  /** In ticks of {@link Tracing.tickMs}, which do not come while this process stands still. */
  began: number;
  ended: number;
  /** What it failed with. */
  failure?: string;
}

/** One request of a client, and what it asked the metadata, until it was answered. */
interface TracedRequest {
  url: string;
  calls: TracedCall[];
  isAnswered: boolean;
}

/** Tells what each request of a client asked the metadata. */
export interface Tracing {
  readonly tickMs: number;
  readonly requests: readonly TracedRequest[];
  watch(metadata: MetadataStore): MetadataStore;
  watchCoordinator(coordinator: Coordinator): Coordinator;
  /** Runs the work of one request; `answered` is to be called when it is over. */
  request(url: string, work: (answered: () => void) => void): void;
  close(): void;
}

const tickMs = 10;

export function traceMetadata(): Tracing {
  const current = new AsyncLocalStorage<TracedRequest>();
  const requests: TracedRequest[] = [];
  let ticks = 0;
  const timer = setInterval(() => ticks++, tickMs);

  async function traced<T>(operation: string, work: () => Promise<T>): Promise<T> {
    const request = current.getStore();
    if (request === undefined || request.isAnswered) return await work();
    const call: TracedCall = { operation, began: ticks, ended: Number.POSITIVE_INFINITY };
    request.calls.push(call);
    try {
      return await work();
    } catch (error) {
      call.failure = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      call.ended = ticks;
    }
  }

  return {
    tickMs,
    requests,
    watch: (metadata) => ({
      get: (...args) => traced('get', () => metadata.get(...args)),
      getMany: (...args) => traced('getMany', () => metadata.getMany(...args)),
      set: (...args) => traced('set', () => metadata.set(...args)),
      delete: (...args) => traced('delete', () => metadata.delete(...args)),
      list: (...args) => traced('list', () => metadata.list(...args)),
    }),
    watchCoordinator: (coordinator) => ({
      acquire: (...args) => traced('acquire', () => coordinator.acquire(...args)),
      holder: (...args) => traced('holder', () => coordinator.holder(...args)),
      publish: (...args) => traced('publish', () => coordinator.publish(...args)),
      subscribe: coordinator.subscribe,
    }),
    request(url, work) {
      const request: TracedRequest = { url, calls: [], isAnswered: false };
      requests.push(request);
      current.run(request, () =>
        work(() => {
          request.isAnswered = true;
        }),
      );
    },
    close: () => clearInterval(timer),
  };
}

/** How long calls that failed had waited, in ms. */
export function failedWaits({ requests, tickMs }: Pick<Tracing, 'requests' | 'tickMs'>): number[] {
  return requests
    .flatMap(({ calls }) => calls.filter(({ failure }) => failure !== undefined))
    .map(({ began, ended }) => (ended - began) * tickMs);
}

/**
 * The calls that failed after more than `ms`, of requests that had to wait so for one after the other. Nobody waits for a
 * message to be sent.
 */
export function waitedAgain({ requests, tickMs }: Pick<Tracing, 'requests' | 'tickMs'>, ms: number): TracedCall[][] {
  return requests.flatMap(({ calls }) => {
    const failed = calls.filter(({ operation, failure }) => operation !== 'publish' && failure !== undefined);
    const waits = failed.filter(({ began, ended }) => (ended - began) * tickMs > ms);
    const first = Math.min(...waits.map(({ ended }) => ended));
    return waits.some(({ began }) => began > first) ? [waits] : [];
  });
}
