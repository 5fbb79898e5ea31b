import { createHash } from 'node:crypto';
import type { Clock } from '../runtime/clock.ts';
import type { UpstreamEvent } from './events.ts';
import type { FetchedBlob, Upstream } from './upstream.ts';
import { isUpstreamError, type UpstreamError, type UpstreamErrorCode } from './upstream-error.ts';

/** What a question is about: what a name stands for changes with time (tags, lists), what a digest stands for does not. */
export type Matter = 'changing' | 'content';

/** One of the base URLs that an upstream's content is had from. */
export interface Endpoint {
  /** Stands for its place and URL in cursors. */
  readonly id: string;
  /** Whether it is the upstream's own `url`: its "no" is the truth, that of another may be a lag behind it. */
  readonly isFirst: boolean;
  readonly client: Upstream;
  /** Whether it failed lately in this matter: then it is asked last. */
  isFailing(matter: Matter): boolean;
  failed(error: unknown, matter: Matter): void;
  answered(matter: Matter): void;
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
// Of what changes others may have an old state. To ask a host again that fails at once costs little, and its breaker ends it.
const failingOnceForMs = 5_000;

// These say something of one request or of ourselves, not of the endpoint.
const ofTheRequest: ReadonlySet<UpstreamErrorCode> = new Set(['rate-limited', 'too-large', 'busy', 'offline']);

/**
 * Makes an endpoint that remembers whether it failed lately. What is about some content (a blob's body, its CDN, one
 * repository's answers) says nothing of tags: for these, `url` is passed over only where it gave no answer at all.
 */
export function createEndpoint({ key, url, index, client, clock, observe }: EndpointParts): Endpoint {
  const isFirst = index === 0;
  const failingUntil = { changing: Number.NEGATIVE_INFINITY, content: Number.NEGATIVE_INFINITY };

  function isFailing(matter: Matter): boolean {
    const until = isFirst ? failingUntil[matter] : Math.max(failingUntil.changing, failingUntil.content);
    return clock.monotonic() < until;
  }

  function failed(error: unknown, matter: Matter): void {
    if (!isUpstreamError(error) || ofTheRequest.has(error.code)) return;
    const wasFailing = isFailing('content');
    const now = clock.monotonic();
    failingUntil.content = now + failingForMs;
    if (matter === 'changing' && isSilence(error)) {
      failingUntil.changing = now + (error.code === 'timeout' ? failingForMs : failingOnceForMs);
    }
    if (!wasFailing) observe({ type: 'endpoint-failed', upstream: key, host: new URL(url).host, error: error.code });
  }

  return {
    id: createHash('sha256').update(`${index} ${url}`).digest('hex').slice(0, 8),
    isFirst,
    client,
    isFailing,
    failed,
    answered(matter) {
      failingUntil.changing = Number.NEGATIVE_INFINITY;
      // That it knows its tags does not bring back the CDN of its blobs.
      if (matter === 'content' || !isFirst) failingUntil.content = Number.NEGATIVE_INFINITY;
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
            failed(error, 'content');
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

/** Whether it gave no answer at all; a page, a wrong digest or a refused credential may be those of one repository. */
function isSilence({ code, status = 0 }: UpstreamError): boolean {
  return (
    code === 'unreachable' ||
    code === 'timeout' ||
    code === 'server-error' ||
    (code === 'token-failed' && status >= 500)
  );
}
