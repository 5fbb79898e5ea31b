import { parseDuration } from '../runtime/duration.ts';
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
  /** Whether to wait for an endpoint that is known to be down: of a blob the manifest is with the client already. */
  patient: boolean;
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
  const { rules, tries, now, patient } = context;
  const told = error.retryAt === undefined ? undefined : Math.max(error.retryAt - now, 0);
  if (error.code === 'unavailable') {
    const look = Math.min(told ?? mostLookMs, mostLookMs, context.leftMs - leastUsefulMs);
    const waitMs = patient ? waitOf(Math.max(look, leastLookMs), lookSpreadMs, context) : undefined;
    return waitMs === undefined ? undefined : { waitMs, isRetry: false };
  }
  if (!isPassing(error) || tries >= rules.attempts) return undefined;
  // The instant itself is still within the limit.
  const least = told === undefined ? 0 : told + 1;
  const waitMs = waitOf(least, Math.min(rules.maxWaitMs, rules.minWaitMs * 2 ** (tries - 1)), context);
  return waitMs === undefined ? undefined : { waitMs, isRetry: true };
}

/**
 * When to ask one that its own tries found to be down, where there is patience: as its breaker lets one request through
 * at a time then, that is no retry. @param retryAt wall time in ms until which it is left alone
 */
export function onceUp(error: UpstreamError, retryAt: number, context: RetryContext): NextTry | undefined {
  if (!context.patient || !isPassing(error) || error.retryAt !== undefined) return undefined;
  const waitMs = waitOf(Math.max(retryAt - context.now, leastLookMs), lookSpreadMs, context);
  return waitMs === undefined ? undefined : { waitMs, isRetry: false };
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
      return false;
  }
}

/** 408, 425 and 5xx; 501 and 505 say what the server cannot do at all (RFC 9110 15.6). */
function isPassingStatus(status: number): boolean {
  return status === 408 || status === 425 || (status >= 500 && status !== 501 && status !== 505);
}
