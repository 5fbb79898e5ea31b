import { createHash } from 'node:crypto';
import type { Clock } from '../runtime/clock.ts';
import type { UpstreamEvent } from './events.ts';
import type { FetchedBlob, Upstream } from './upstream.ts';
import { isUpstreamError, type UpstreamErrorCode } from './upstream-error.ts';

/** One of the base URLs that an upstream's content is had from. */
export interface Endpoint {
  /** Stands for its place and URL in cursors. */
  readonly id: string;
  /** Whether it is the upstream's own `url`: its "no" is the truth, that of another may be a lag behind it. */
  readonly isFirst: boolean;
  readonly client: Upstream;
  /** Whether it failed lately: then it is asked last. */
  isFailing(): boolean;
  failed(error: unknown): void;
  answered(): void;
  /** The same blob; where its body fails, so has the endpoint. `ended` is called when all of it has come. */
  watched(blob: FetchedBlob, ended: () => void): FetchedBlob;
}

/** What an endpoint is made of. */
export interface EndpointParts {
  /** The upstream's key. */
  key: string;
  url: string;
  /** Its place in the order of preference, from 0. */
  index: number;
  client: Upstream;
  clock: Clock;
  observe(event: UpstreamEvent): void;
}

// Long enough to spare most requests the detour, short enough for the preferred one to have its work back soon.
const failingForMs = 30_000;

// These say something of one request or of ourselves, not of the endpoint.
const ofTheRequest: ReadonlySet<UpstreamErrorCode> = new Set(['rate-limited', 'too-large', 'busy']);

/** Makes an endpoint that remembers whether it failed lately. */
export function createEndpoint({ key, url, index, client, clock, observe }: EndpointParts): Endpoint {
  let failingUntil = Number.NEGATIVE_INFINITY;
  const isFailing = () => clock.monotonic() < failingUntil;

  function failed(error: unknown): void {
    if (!isUpstreamError(error) || ofTheRequest.has(error.code)) return;
    const wasFailing = isFailing();
    failingUntil = clock.monotonic() + failingForMs;
    if (!wasFailing) observe({ type: 'endpoint-failed', upstream: key, host: new URL(url).host, error: error.code });
  }

  return {
    id: createHash('sha256').update(`${index} ${url}`).digest('hex').slice(0, 8),
    isFirst: index === 0,
    client,
    isFailing,
    failed,
    answered() {
      failingUntil = Number.NEGATIVE_INFINITY;
    },
    watched(blob, ended) {
      const source = blob.body[Symbol.asyncIterator]();
      const iterator: AsyncIterator<Uint8Array, undefined> = {
        async next() {
          try {
            const result = await source.next();
            if (result.done) ended();
            return result;
          } catch (error) {
            failed(error);
            throw error;
          }
        },
        async return() {
          await source.return?.();
          return { done: true, value: undefined };
        },
      };
      return { ...blob, body: { [Symbol.asyncIterator]: () => iterator } };
    },
  };
}
