import type { Dispatcher } from 'undici';
import type { Bytes } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Slabs } from '../runtime/slabs.ts';
import type { Connection } from './connection-pool.ts';
import type { HostPlan } from './dialer.ts';
import { createResponseBody, type JoinThrottle, type ResponseBody } from './response-body.ts';

/** A response's headers by lowercase name, as undici parses them. */
export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** A header's first value. */
export function headerOf(headers: ResponseHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : value?.[0];
}

/** A request as it goes over one connection. */
export interface ExchangeRequest {
  origin: string;
  /** Path and query. */
  path: string;
  method: 'GET' | 'HEAD' | 'POST';
  headers: Readonly<Record<string, string>>;
  body?: string;
}

/** One hop of a request as plain data, which can be cloned into a worker thread: where to, how, and for how long. */
export interface TransferPlan {
  request: ExchangeRequest;
  host: HostPlan;
  /** How long each step may take, in ms; `within`: how long it may all take until the headers are here. */
  limits: { connect: number; headers: number; idle: number; within: number };
}

/** What a plan is carried out with. */
export interface Receiving {
  connection: Pick<Connection, 'dispatcher' | 'valve'>;
  clock: Clock;
  /**
   * Memory for the body, where the connection is a lane: each chunk then passes to the reader with its memory, who gives it
   * back. Default: fresh memory.
   */
  slabs?: Slabs | undefined;
  /** Holds the body up where all bodies together bring too much. Default: nothing does. */
  join?: JoinThrottle | undefined;
  hooks: ExchangeHooks;
  signal: AbortSignal;
}

/** What an exchange tells its maker. */
export interface ExchangeHooks {
  /** Makes the error of a step that took too long. */
  late(step: 'connect' | 'headers' | 'idle'): Error;
  /** Makes the error of a body that broke off. */
  broken(error: Error): Error;
  /**
   * The connection is free again; not `reusable` when it is in an unknown state. Called once.
   *
   * @param received bytes of the body; `undefined` where no headers came
   */
  done(reusable: boolean, received: number | undefined): void;
}

/** What came back: headers, and a body on its way. */
export interface ExchangeResponse {
  status: number;
  headers: ResponseHeaders;
  body: Bytes;
}

/**
 * Carries out a plan: one request and its response over a connection. Rejects with undici's own error, an error of `late`, or the signal's
 * reason; after the headers the body does. Undici's timers are off: they are coarse, and blind to queues and readers.
 */
export function receive(plan: TransferPlan, receiving: Receiving): Promise<ExchangeResponse> {
  const { request, host, limits } = plan;
  const { connection, clock, slabs, join, hooks, signal } = receiving;
  const until = clock.monotonic() + limits.within;
  return new Promise((resolve, reject) => {
    let controller: Dispatcher.DispatchController | undefined;
    let body: ResponseBody | undefined;
    let received = 0;
    let over = false;

    const timeLeft = () => until - clock.monotonic();
    let cancelTimer = clock.after(Math.min(limits.connect, timeLeft()), () => giveUp(hooks.late('connect')));

    function finish(reusable: boolean): void {
      if (over) return;
      over = true;
      cancelTimer();
      signal.removeEventListener('abort', onAbort);
      // The last bytes may have come beyond what its reader wanted.
      connection.valve?.resume();
      hooks.done(reusable, body && received);
    }

    function giveUp(error: unknown): void {
      if (over) return;
      finish(false);
      controller?.abort(error instanceof Error ? error : new Error('given up'));
      fail(error);
    }

    function fail(error: unknown): void {
      if (body) body.fail(error);
      else reject(error);
    }

    const onAbort = () => giveUp(signal.reason);

    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(started) {
        controller = started;
        if (over) return started.abort(new Error('given up'));
        cancelTimer();
        cancelTimer = clock.after(Math.min(limits.headers, timeLeft()), () => giveUp(hooks.late('headers')));
      },
      onResponseStart(_controller, status, headers) {
        // Informational: the answer is yet to come (RFC 9110 15.2).
        if (status < 200 || over) return;
        cancelTimer();
        // Once this is over the connection is another's, whose bytes a late reader of these must not let in.
        const flow = () => (over ? undefined : (connection.valve ?? controller));
        const source = {
          pause: () => flow()?.pause(),
          resume: () => flow()?.resume(),
          abandon: () => giveUp(new Error('given up')),
          unread: (chunk: Uint8Array) => slabs?.give(chunk),
        };
        body = createResponseBody(source, { clock, ms: limits.idle, error: () => hooks.late('idle') }, join);
        resolve({ status, headers, body: body.bytes });
      },
      onResponseData(_controller, chunk) {
        received += chunk.byteLength;
        body?.push(chunk);
      },
      onResponseEnd() {
        finish(true);
        body?.end();
      },
      onResponseError(_controller, error) {
        if (over) return;
        finish(false);
        fail(body ? hooks.broken(error) : error);
      },
    };

    signal.addEventListener('abort', onAbort, { once: true });
    const { origin, path, method, headers } = request;
    const wire = { origin, path, method, headers, body: request.body ?? null, headersTimeout: 0, bodyTimeout: 0 };
    try {
      connection.dispatcher.dispatch({ ...wire, host, slabs }, handler);
    } catch (error) {
      giveUp(error);
    }
  });
}
