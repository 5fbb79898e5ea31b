import type { Dispatcher } from 'undici';
import type { Bytes } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Connection } from './connection-pool.ts';
import { createResponseBody, type ResponseBody } from './response-body.ts';

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

/** How long each step may take, in ms; `deadlineAt` is the instant by which the headers must be here. */
export interface ExchangeLimits {
  clock: Clock;
  connect: number;
  headers: number;
  idle: number;
  deadlineAt: number;
  signal: AbortSignal;
}

/** What an exchange tells its maker. */
export interface ExchangeHooks {
  /** Makes the error of a step that took too long. */
  late(step: 'connect' | 'headers' | 'idle'): Error;
  /** Makes the error of a body that broke off. */
  broken(error: Error): Error;
  /** The connection is free again; not `reusable` when it is in an unknown state. Called once. */
  done(reusable: boolean): void;
}

/** What came back: headers, and a body on its way. */
export interface ExchangeResponse {
  status: number;
  headers: ResponseHeaders;
  body: Bytes;
}

/**
 * One request and its response over a connection. Rejects with undici's own error, an error of `late`, or the signal's
 * reason; after the headers the body does. Undici's timers are off: they are coarse, and blind to queues and readers.
 */
export function exchange(
  connection: Connection,
  request: ExchangeRequest,
  context: { limits: ExchangeLimits; hooks: ExchangeHooks },
): Promise<ExchangeResponse> {
  const { limits, hooks } = context;
  const { clock, signal } = limits;
  return new Promise((resolve, reject) => {
    let controller: Dispatcher.DispatchController | undefined;
    let body: ResponseBody | undefined;
    let over = false;

    const timeLeft = () => limits.deadlineAt - clock.monotonic();
    let cancelTimer = clock.after(Math.min(limits.connect, timeLeft()), () => giveUp(hooks.late('connect')));

    function finish(reusable: boolean): void {
      if (over) return;
      over = true;
      cancelTimer();
      signal.removeEventListener('abort', onAbort);
      hooks.done(reusable);
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
        const source = {
          pause: () => controller?.pause(),
          resume: () => controller?.resume(),
          abandon: () => giveUp(new Error('given up')),
        };
        body = createResponseBody(source, { clock, ms: limits.idle, error: () => hooks.late('idle') });
        resolve({ status, headers, body: body.bytes });
      },
      onResponseData(_controller, chunk) {
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
    const options = { origin, path, method, headers, body: request.body ?? null, headersTimeout: 0, bodyTimeout: 0 };
    try {
      connection.dispatcher.dispatch(options, handler);
    } catch (error) {
      giveUp(error);
    }
  });
}
