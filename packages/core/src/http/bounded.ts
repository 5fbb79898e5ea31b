import { type Bytes, discard, isWhole } from '../runtime/bytes.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { isStream } from './body.ts';
import { errorResponse } from './error-response.ts';
import type { RequestEvent } from './events.ts';
import type { Handle, HandleBeside, HttpRequest, HttpResponse } from './message.ts';
import { isBelowV2 } from './route.ts';

/** What {@link bounded} is told. */
export interface Bounds {
  /** Requests at once, each until its body is through. */
  maxRequests: number;
  /** Whether the cache was closed. */
  closed(): boolean;
  /** What is answered beside `/v2/`. Over the limit it is not asked: what it owns is refused, the rest is the host's. */
  beside?: HandleBeside | undefined;
  /** Wall time in ms since the epoch. */
  now(): number;
  /** Told of what is refused here, before anybody else has seen it. */
  observe(event: RequestEvent): void;
}

/** A handler that is {@link bounded}. */
export interface Bounded {
  handle: Handle;
  /** Resolves when no request runs: each until its body is through. */
  idle(): Promise<void>;
  /** Ends what runs: bodies break off. Resolves when all have let go of what they were made of. */
  cutOff(): Promise<void>;
}

/** A body under way. */
interface RunningBody {
  bytes: Bytes;
  cut(): void;
  /** Lets go of its source, once. */
  release(): Promise<void>;
}

/** Answers with 503 what is more than the host wants to bear (SEMANTICS 38), and everything once the cache is closed. */
export function bounded(handle: Handle, { maxRequests, closed, beside, now, observe }: Bounds): Bounded {
  const bodies = new Set<RunningBody>();
  let isCut = false;
  let running = 0;
  let waiting: (() => void)[] = [];
  const done = () => {
    running--;
    if (running > 0) return;
    for (const wake of waiting) wake();
    waiting = [];
  };

  function refuse(request: HttpRequest, error: ProxyCacheError): HttpResponse {
    const response = errorResponse(error, request, { now: now() });
    const { status } = response;
    const kind = isBelowV2(request.url) ? 'invalid' : 'access';
    observe({ type: 'request', method: request.method, kind, status, durationMs: 0, error: error.code });
    return response;
  }

  function idle(): Promise<void> {
    return running === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve));
  }

  async function handleBounded(request: HttpRequest): Promise<HttpResponse | undefined> {
    const isOurs = isBelowV2(request.url);
    const isFull = running >= maxRequests;
    const isRefused = isFull || closed();
    if (!isOurs && !(isRefused ? beside?.owns?.(request.url) : beside)) return undefined;
    if (closed()) return refuse(request, closedError());
    if (isFull) {
      const message = `${running} requests run already; try again shortly`;
      return refuse(request, new ProxyCacheError('too-many-requests', message));
    }
    running++;
    let response: HttpResponse | undefined;
    try {
      response = await (isOurs ? handle(request) : beside?.(request));
    } finally {
      if (!isStream(response?.body)) done();
    }
    if (!response || !isStream(response.body)) return response;
    if (isCut) {
      await discard(response.body);
      done();
      return errorResponse(closedError(), request, { now: now() });
    }
    return { ...response, body: counted(response.body) };
  }

  /** Of a request that takes its place for as long as the body is under way. */
  function counted(bytes: Bytes): Bytes {
    const body = watched(bytes, done, () => bodies.delete(body));
    bodies.add(body);
    return body.bytes;
  }

  // Most are over when they return, and take no place; where there is none left, they are refused like any other.
  const fromMemory: Handle['fromMemory'] = (request) => {
    if (closed() || running >= maxRequests) return undefined;
    const response = handle.fromMemory?.(request);
    if (!response || !isStream(response.body)) return response;
    running++;
    return { ...response, body: counted(response.body) };
  };

  return {
    handle: Object.assign(handleBounded, { fromMemory }),
    idle,
    async cutOff() {
      isCut = true;
      for (const body of bodies) body.cut();
      await Promise.allSettled([...bodies].map((body) => body.release()));
      // Answers that were yet to come.
      await idle();
    },
  };
}

const closedError = () => new ProxyCacheError('closed', 'the cache is closed');

/**
 * The same body, which can be cut off.
 *
 * @param done called when it is over in whatever way
 * @param released called when its source was let go of, too
 */
function watched(body: Bytes, done: () => void, released: () => void): RunningBody {
  const source = body[Symbol.asyncIterator]();
  let over = false;
  let isCut = false;
  let releasing: Promise<void> | undefined;
  const end = () => {
    if (!over) done();
    over = true;
  };
  async function release(): Promise<void> {
    try {
      await source.return?.();
    } finally {
      released();
    }
  }
  function taken(result: IteratorResult<Uint8Array>): typeof result {
    if (isCut) return failed(closedError());
    if (result.done) settle();
    return result;
  }
  function failed(error: unknown): never {
    settle();
    throw error;
  }
  function settle(): void {
    end();
    released();
  }
  const iterator: AsyncIterator<Uint8Array> = {
    next: () => (isCut ? Promise.reject(closedError()) : source.next().then(taken, failed)),
    async return() {
      end();
      releasing ??= release();
      await releasing;
      return { done: true, value: undefined };
    },
  };
  const bytes: Bytes = { [Symbol.asyncIterator]: () => iterator };
  const takeWhole = () => {
    if (isCut || !isWhole(body)) throw closedError();
    const whole = body.takeWhole();
    const settle = (complete: boolean) => {
      end();
      released();
      whole.over(complete);
    };
    return { bytes: whole.bytes, over: settle };
  };
  return {
    bytes: isWhole(body) ? Object.assign(bytes, { takeWhole }) : bytes,
    cut() {
      isCut = true;
      end();
    },
    release: () => (releasing ??= release()),
  };
}
