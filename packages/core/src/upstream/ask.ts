import { essenceOf } from '../oci/media-type.ts';
import { bytesOf } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Arrived, Authenticator } from './authenticate.ts';
import { bytesByDeadline } from './by-deadline.ts';
import { type ExchangeResponse, headerOf } from './exchange.ts';
import { letGo } from './let-go.ts';
import { offlineError, type UpstreamMode } from './mode.ts';
import type { Ask, Question } from './question.ts';
import type { Quota } from './quota.ts';
import { parseRetryAfter, type RateLimits } from './rate-limit.ts';
import { redact } from './redact.ts';
import { followRedirects, type Hop, RedirectRefused } from './redirect.ts';
import type { TellRequest } from './told-request.ts';
import type { Transport } from './transport.ts';
import { UpstreamError } from './upstream-error.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/** What an {@link Ask} is made of. */
export interface AskParts {
  clock: Clock;
  transport: Transport;
  authenticator: Authenticator;
  quota: Quota;
  limits: RateLimits;
  tell: TellRequest;
  mode(): UpstreamMode;
}

/** A question on its way; `sentAt`: `clock.monotonic()` ms at which its last request went. */
type Sent = Question & { sentAt: number };

/** Makes the one way in which questions leave for an upstream. Rejects with UpstreamError or the signal's reason. */
export function createAsk({ key, url: root }: UpstreamSettings, parts: AskParts): Ask {
  const { clock, transport, authenticator, quota, limits, tell, mode } = parts;
  const base = root.replace(/\/+$/, '');

  // Each host has limits of its own: that of a CDN, which a redirect led to, says nothing of the registry.
  const limitKind = ({ scope, operation }: Question, { host }: URL) => `${scope} ${operation} ${host}`;

  function refuseLimited(question: Question, url: URL): void {
    const retryAt = limits.limitedUntil(limitKind(question, url));
    if (retryAt !== undefined) throw rateLimited(key, question.subject, retryAt);
  }

  /** HEADs are free of charge (Docker Hub); of all others only a manifest's GET counts. */
  function keepReserve({ operation, sparesQuota, scope, subject }: Question): void {
    if (!sparesQuota || operation !== 'manifest' || !quota.isLow(scope)) return;
    const message = `${key} has little of its rate limit left, which is kept for what is not stored: ${subject} was not asked for`;
    throw new UpstreamError('rate-limited', message, { upstream: key });
  }

  async function sendHop(question: Sent, hop: Hop): Promise<ExchangeResponse> {
    refuseLimited(question, hop.url);
    question.sentAt = clock.monotonic();
    const { operation, method, repository, long, slabs, deadlineAt, signal } = question;
    const { url, headers } = hop;
    // Nobody has a blob's first byte while others have all connections: its time counts from when it has one.
    const queued = (waitedMs: number) => {
      question.deadlineAt += waitedMs;
      question.queued?.(waitedMs);
    };
    const response = await tell({ operation, method, url, repository }, (over) =>
      transport.send({ url, method, headers, long, slabs, deadlineAt, ...(long && { queued }), signal, over }),
    );
    // What anybody can have said to a wrong password pushes out what was said to the right ones.
    const counts = question.caller === undefined || response.status < 400;
    if (counts && transport.isOwn(hop.url)) quota.note(question.scope, response.headers);
    const isRedirect = response.status >= 300 && response.status < 400;
    if (isRedirect) limits.passed(limitKind(question, hop.url), question.sentAt);
    return response;
  }

  async function follow(question: Sent, first: Hop): Promise<Arrived> {
    try {
      return await followRedirects(first, (hop) => sendHop(question, hop));
    } catch (error) {
      throw error instanceof RedirectRefused ? refusedRedirect(key, question.subject, error) : error;
    }
  }

  function refuseFailures(question: Sent, { response, url }: Arrived): void {
    const { status, headers } = response;
    const retryAfter = headerOf(headers, 'retry-after');
    if (status === 429) {
      letGo(response);
      const retryAt = limits.limited(limitKind(question, url), question.sentAt, retryAfter);
      throw rateLimited(key, question.subject, retryAt);
    }
    limits.passed(limitKind(question, url), question.sentAt);
    // RFC 9110 15.5.9, RFC 8470 5.2: both only say that the request should come again.
    const comesAgain = status === 408 || status === 425;
    if (comesAgain || (status >= 500 && status !== 501)) {
      letGo(response);
      const wait = parseRetryAfter(retryAfter, clock.now());
      throw new UpstreamError('server-error', `${key} answered ${status} for ${question.subject}`, {
        upstream: key,
        status,
        host: url.host,
        ...(wait !== undefined && { retryAt: clock.now() + wait }),
      });
    }
  }

  function refuseEncoded({ subject }: Question, response: ExchangeResponse): void {
    const { status, headers } = response;
    const encoding = essenceOf(headerOf(headers, 'content-encoding'));
    if (status < 300 && encoding !== '' && encoding !== 'identity') {
      letGo(response);
      // The digest is that of the bytes as they are kept; nobody asked for others.
      const message = `${key} sent ${subject} compressed (${redact(encoding).slice(0, 40)}) although it was asked not to`;
      throw new UpstreamError('foreign-answer', message, { upstream: key, status });
    }
  }

  return async (asked) => {
    const question: Sent = { ...asked, sentAt: clock.monotonic() };
    const url = new URL(`${base}/v2/${question.path}${question.search ?? ''}`);
    if (mode() === 'offline') throw offlineError(key, question.subject);
    // Before a token is asked for in vain.
    refuseLimited(question, url);
    transport.check({ url, deadlineAt: question.deadlineAt });
    keepReserve(question);
    const { scope, caller } = question;
    const arrived = await authenticator.send(question, {
      ask: (authorization) => follow(question, { url, headers: { ...question.headers, ...authorization } }),
      async ping(headers, wait) {
        const about = { operation: 'ping', method: 'GET', path: '', subject: 'its base URL', scope, caller } as const;
        const ping: Sent = { ...about, ...wait, sentAt: clock.monotonic() };
        const pinged = await follow(ping, { url: new URL(`${base}/v2/`), headers });
        refuseFailures(ping, pinged);
        return pinged;
      },
    });
    if ('kind' in arrived) {
      const { status } = arrived;
      return { status, headers: {}, body: bytesOf(new Uint8Array()), fromOwnOrigin: true, url, denial: arrived };
    }
    const { response } = arrived;
    refuseFailures(question, arrived);
    refuseEncoded(question, response);
    const late = () =>
      new UpstreamError('timeout', `${key} did not end its answer in time for ${question.subject}`, {
        upstream: key,
        host: arrived.url.host,
      });
    // All but a blob is read whole before anything can be said of it: a body that trickles must not hold that up.
    const passed = question.operation === 'blob' && response.status < 300;
    const body = passed ? response.body : bytesByDeadline(response.body, question, { clock, late });
    return { ...response, body, fromOwnOrigin: transport.isOwn(arrived.url), url: arrived.url };
  };
}

function rateLimited(key: string, subject: string, retryAt: number): UpstreamError {
  const when = new Date(retryAt).toISOString();
  const message = `${key} answered 429 (too many requests) for ${subject}; it is asked again from ${when} on`;
  return new UpstreamError('rate-limited', message, { upstream: key, status: 429, retryAt });
}

function refusedRedirect(key: string, subject: string, cause: RedirectRefused): UpstreamError {
  return new UpstreamError(cause.code, `${key} ${cause.message}, for ${subject}`, { upstream: key, cause });
}
