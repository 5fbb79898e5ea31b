import type { Clock } from '../runtime/clock.ts';
import { parseDuration } from '../runtime/duration.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Slabs } from '../runtime/slabs.ts';
import type { Throttle } from '../runtime/throttle.ts';
import type { BreakerState } from './breaker.ts';
import { createBreakers, signOfFailure, signOfStatus } from './breakers.ts';
import { describeFailure, isClosedConnection } from './connection-failure.ts';
import type { Connection, ConnectionPool } from './connection-pool.ts';
import { createConnectionPools } from './connection-pools.ts';
import type { Lookup } from './connector.ts';
import type { UpstreamEvent } from './events.ts';
import { type ExchangeResponse, receive, type TransferPlan } from './exchange.ts';
import { createHosts } from './hosts.ts';
import { offlineError, type UpstreamMode } from './mode.ts';
import { redactError } from './redact.ts';
import type { ThreadLanes } from './thread-lanes.ts';
import type { ResponseOver } from './told-request.ts';
import type { HostStatus } from './upstream.ts';
import { UpstreamError, type UpstreamErrorCode, type UpstreamFailure } from './upstream-error.ts';
import type { UpstreamSettings } from './upstream-options.ts';
import { createWires } from './wires.ts';

/** A request to one URL; redirects are answers like any other. */
export interface TransportRequest {
  url: URL;
  method: 'GET' | 'HEAD' | 'POST';
  headers: Readonly<Record<string, string>>;
  body?: string;
  /** Whether the body of its answer is read at its readers' speed. Default: no. */
  long?: boolean | undefined;
  /** Memory for a long body: see {@link Receiving}. */
  slabs?: Slabs | undefined;
  /** `clock.monotonic()` ms by which the response's headers must be here. */
  deadlineAt: number;
  /** Told how long it waited for a connection: that has a bound of its own then, and moves the deadline. Default: it counts. */
  queued?: ((waitedMs: number) => void) | undefined;
  /** When whoever waits for it leaves, where that is before `deadlineAt`. */
  leavesAt?: number;
  /** Ends the exchange at any time, also while the body is read. */
  signal: AbortSignal;
  /** Told once when a response is over, from the socket's side. Default: nobody is. */
  over?: ResponseOver | undefined;
}

/** How requests leave for an upstream and the hosts it leads to. */
export interface Transport {
  /** @throws UpstreamError `unreachable`, `timeout`, `busy`, `unavailable`, `address-refused`; the signal's reason */
  send(request: TransportRequest): Promise<ExchangeResponse>;
  /** Whether a request would leave now. @throws UpstreamError `unavailable` */
  check(request: Pick<TransportRequest, 'url' | 'deadlineAt'>): void;
  /** The hosts that were asked lately. */
  hosts(): readonly HostStatus[];
  /** How it stands with a host and port; one that was not asked is `closed`. */
  stateOf(host: string): BreakerState;
  /** Whether a URL is of the upstream's own origin. */
  isOwn(url: URL): boolean;
  /** Whether a URL is of the upstream's own origin or of one of its token hosts. */
  isPaired(url: URL): boolean;
  close(): Promise<void>;
}

/** What a transport needs beside the upstream's options. */
export interface TransportParts {
  clock: Clock;
  userAgent: string;
  observe(event: UpstreamEvent): void;
  /** Called when a request has to wait for a connection. */
  crowded?(): void;
  /** Called with 1 when it turns to a host, with -1 when it has no connection to it any more. */
  pooled?(change: 1 | -1): void;
  /** Default: the machine's resolver. */
  lookup?: Lookup;
  /** Where blobs are received. Default: in this thread. */
  lanes?: ThreadLanes | undefined;
  /** How the upstream is used now. Default: as its options say. */
  mode?(): UpstreamMode;
  /** Bounds the bytes of all bodies together. Default: nothing does. */
  throttle?: Throttle | undefined;
}

/** Makes the transport of one upstream: one pool of connections for each host. */
export function createTransport(settings: UpstreamSettings, parts: TransportParts): Transport {
  const { clock, throttle, mode = () => settings.mode } = parts;
  const { key, timeouts, limits } = settings;
  const connect = parseDuration(timeouts.connect);
  const headers = parseDuration(timeouts.headers);
  const idle = parseDuration(timeouts.idle);
  const hosts = createHosts(settings, { lookup: parts.lookup, connectFor: connect, lanes: parts.lanes, throttle });
  const breakers = createBreakers(settings, { clock, observe: parts.observe, isOwn: hosts.isOwn });
  const wires = createWires(hosts.hasLanes);
  let closed = false;

  // Messages reach clients, who are to see no host: which one it was is for logs, in `cause`.
  const failure = (
    code: UpstreamErrorCode,
    url: URL,
    why: string,
    { cause, failure: more }: { cause?: unknown; failure?: UpstreamFailure | undefined } = {},
  ) =>
    new UpstreamError(code, `${key} ${hosts.isOwn(url) ? '' : 'led to a host that '}${why}`, {
      upstream: key,
      failure: more,
      host: url.host,
      cause: new Error(`${url.host} ${why}`, cause === undefined ? {} : { cause: redactError(cause) }),
    });

  const closedError = () => new ProxyCacheError('closed', `${key}: the cache is closed`);

  function translate(url: URL, error: unknown): Error {
    if (closed) return closedError();
    const { code, failure: more, why } = describeFailure(error);
    return failure(code, url, why, { cause: error, failure: more });
  }

  function refuseAddress(url: URL): void {
    try {
      hosts.check(url);
    } catch (error) {
      throw translate(url, error);
    }
  }

  const pools = createConnectionPools({
    limits,
    clock,
    open: hosts.open,
    busy: (url, why) => failure('busy', url, why),
    crowded: parts.crowded,
    pooled: parts.pooled,
  });

  function late(url: URL, step: 'connect' | 'headers' | 'idle'): Error {
    const why = { connect: 'took no connection', headers: 'sent no answer', idle: 'sent nothing more' };
    return failure('timeout', url, `${why[step]} in time`);
  }

  function locate({ url, method, headers: own, body, deadlineAt }: TransportRequest): TransferPlan {
    return {
      request: {
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: { 'accept-encoding': 'identity', 'user-agent': parts.userAgent, ...own },
        ...(body !== undefined && { body }),
      },
      host: hosts.plan(url),
      limits: { connect, headers, idle, within: deadlineAt - clock.monotonic() },
    };
  }

  async function once(request: TransportRequest, pool: ConnectionPool, connection: Connection) {
    const { url, slabs, long, signal } = request;
    return await receive(locate(request), {
      connection,
      clock,
      slabs,
      // What is small is not held up: everything else waits for it.
      join: throttle && (long ? throttle.join : throttle.counted),
      signal,
      hooks: {
        late: (step) => late(url, step),
        broken: (cause) =>
          closed ? closedError() : failure('unreachable', url, 'broke off in the middle of its answer', { cause }),
        done(reusable, received) {
          pool.release(connection, reusable);
          if (received !== undefined) request.over?.(received, reusable);
        },
      },
    });
  }

  async function attempt(request: TransportRequest, leaves: () => void): Promise<ExchangeResponse> {
    const { url, signal } = request;
    const kind = request.long ? 'long' : 'short';
    let { deadlineAt } = request;
    for (let fresh = false; ; fresh = true) {
      if (closed) throw closedError();
      const pool = pools.of(url);
      const asked = clock.monotonic();
      const by = request.queued ? Number.POSITIVE_INFINITY : deadlineAt;
      const connection = await pool.acquire({ kind, wire: wires.of(request), fresh, deadlineAt: by, signal });
      const kept = connection.used;
      if (request.queued) {
        const waitedMs = clock.monotonic() - asked;
        deadlineAt += waitedMs;
        request.queued(waitedMs);
      }
      if (mode() === 'offline') {
        // It was switched while this one waited.
        pool.release(connection, kept);
        throw offlineError(key, 'what was asked for');
      }
      leaves();
      try {
        const response = await once({ ...request, deadlineAt }, pool, connection);
        wires.learn(request, response);
        return response;
      } catch (error) {
        if (signal.aborted || error instanceof UpstreamError) throw error;
        // RFC 9112 9.3.1: a kept connection may be closed by the server just as we use it; that says nothing of the
        // request, which goes again over a new one: after a failover all that were kept are dead.
        if (kept && request.method !== 'POST' && isClosedConnection(error)) continue;
        throw translate(url, error);
      }
    }
  }

  async function send(request: TransportRequest): Promise<ExchangeResponse> {
    const { url, deadlineAt, leavesAt = deadlineAt, signal } = request;
    if (closed) throw closedError();
    if (mode() === 'offline') throw offlineError(key, 'what was asked for');
    refuseAddress(url);
    signal.throwIfAborted();
    const end = breakers.admit({ url, deadlineAt: Math.min(deadlineAt, leavesAt) });
    let left: number | undefined;
    try {
      const response = await attempt(request, () => {
        left = clock.monotonic();
      });
      end(signOfStatus(response.status, url.pathname));
      return response;
    } catch (error) {
      const now = clock.monotonic();
      const waited = left === undefined || closed ? undefined : now - left;
      end(signOfFailure(error, { signal, waited, patient: !signal.aborted && now < deadlineAt }));
      throw error;
    }
  }

  return {
    send,
    check: breakers.check,
    hosts: breakers.hosts,
    stateOf: breakers.stateOf,
    isOwn: hosts.isOwn,
    isPaired: hosts.isPaired,
    async close() {
      closed = true;
      pools.close(closedError());
    },
  };
}
