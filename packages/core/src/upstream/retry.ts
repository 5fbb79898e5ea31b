import { parseDuration } from '../runtime/duration.ts';
import type { HostStatus } from './upstream.ts';
import type { UpstreamError } from './upstream-error.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/** How often and how soon an upstream is asked again. */
export interface RetryRules {
  /** How often one request is sent to an endpoint at most. */
  attempts: number;
  minWaitMs: number;
  maxWaitMs: number;
}

/** The rules of an upstream's options. */
export function retryRulesOf({ attempts, minWait, maxWait }: UpstreamSettings['retry']): RetryRules {
  return { attempts, minWaitMs: parseDuration(minWait), maxWaitMs: parseDuration(maxWait) };
}

/** When an endpoint that failed may be asked again. */
export interface NextTry {
  /** In ms from now. */
  waitMs: number;
  /** Whether it is a retry, of which there is a limited number. Where nothing was sent, nothing is repeated. */
  isRetry: boolean;
}

/** What a failure is judged by. */
export interface RetryContext {
  rules: RetryRules;
  /** How often the request was sent there. */
  tries: number;
  /** Ms to the request's deadline. */
  leftMs: number;
  /** Wall time in ms since the epoch. */
  now: number;
  /**
   * Whether to wait to the end for a host that is known to be down, though nothing was sent: of a blob the manifest is with
   * the client already.
   */
  patient: boolean;
  /** How it stands with the host that failed, where it is known. */
  host?: HostStatus | undefined;
  /** Gives a number from 0 to below 1. */
  random: () => number;
}

// With less time than this a try is in vain.
const leastUsefulMs = 100;
// Who waits for a host to be back looks again this often, or a little later: somebody else may find it well before the
// time that was told, and where it is not, nothing is sent.
const leastLookMs = 50;
const mostLookMs = 1_000;
const lookSpreadMs = 200;

/**
 * When to ask an endpoint again after it failed; `undefined`: not for this request. Waits are of full jitter: anything
 * up to a bound that doubles. What the endpoint said (`Retry-After`) is the least, and comes before the deadline or not at
 * all.
 */
export function nextTry(error: UpstreamError, context: RetryContext): NextTry | undefined {
  const { rules, tries, now } = context;
  if (error.code === 'unavailable') return onceUp(error, context);
  if (!isPassing(error)) return undefined;
  if (tries >= rules.attempts) return onceUp(error, context);
  // The instant itself is still within the limit.
  const least = error.retryAt === undefined ? 0 : Math.max(error.retryAt - now, 0) + 1;
  const waitMs = waitOf(least, Math.min(rules.maxWaitMs, rules.minWaitMs * 2 ** (tries - 1)), context);
  return waitMs === undefined ? undefined : { waitMs, isRetry: true };
}

/**
 * When to look again whether the host that failed is back, which is no retry: its breaker lets one request through at a
 * time. Patience waits to the deadline. Others wait for what is soon known: for a probe that is out, and, where the
 * request was under way when the host failed, for the next one.
 */
export function onceUp(error: UpstreamError, context: RetryContext): NextTry | undefined {
  const { rules, tries, leftMs, now, patient, host } = context;
  const isRefused = error.code === 'unavailable';
  // Who failed itself waits for the very host that failed it, and for no other reason to be down.
  if (!isRefused && (!isPassing(error) || error.retryAt !== undefined || (host?.state ?? 'closed') === 'closed')) {
    return undefined;
  }
  const retryAt = host ? host.retryAt : error.retryAt;
  const told = retryAt === undefined ? undefined : Math.max(retryAt - now, 0);
  const isOpen = host === undefined || host.state === 'open';
  const isSoon = told !== undefined && told <= leftMs - leastUsefulMs;
  if (!patient && isOpen && (tries === 0 || !isSoon)) return undefined;
  // Who is to be sent once was.
  if (!patient && tries > 0 && rules.attempts === 1) return undefined;
  const look = Math.min(told ?? (isOpen ? mostLookMs : 0), mostLookMs, leftMs - leastUsefulMs);
  const waitMs = waitOf(Math.max(look, leastLookMs), lookSpreadMs, context);
  return waitMs === undefined ? undefined : { waitMs, isRetry: false };
}

/** Whether a host refuses what it was asked for before: then there is no use in asking, nor in what leads to it. */
export function isLeftAlone(host: HostStatus | undefined): boolean {
  return host?.state === 'open' || host?.isProbed === true;
}

/** At least so many ms, and at most so many more, with time left for an answer; `undefined`: there is none. */
function waitOf(least: number, spread: number, { leftMs, random }: RetryContext): number | undefined {
  const most = leftMs - leastUsefulMs;
  return least <= most ? Math.min(least + random() * spread, most) : undefined;
}

/** Whether the same endpoint may well answer the same question a moment later. */
function isPassing({ code, status, retryAt }: UpstreamError): boolean {
  switch (code) {
    case 'unreachable':
    case 'timeout':
    // A bit that flipped on the way; of blobs it is found out elsewhere.
    case 'digest-mismatch':
      return true;
    case 'server-error':
      return status === undefined || isPassingStatus(status);
    case 'token-failed':
      return status !== undefined && isPassingStatus(status);
    case 'rate-limited':
      return retryAt !== undefined;
    // No retry: a page stays a page for the user behind it, and the others depend on how we are set up.
    case 'foreign-answer':
    case 'credentials-rejected':
    case 'address-refused':
    case 'too-large':
    case 'busy':
    case 'unavailable':
    case 'offline':
      return false;
  }
}

/** 408, 425 and 5xx; 501 and 505 say what the server cannot do at all (RFC 9110 15.6). */
function isPassingStatus(status: number): boolean {
  return status === 408 || status === 425 || (status >= 500 && status !== 501 && status !== 505);
}
