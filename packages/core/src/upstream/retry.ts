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
// Of those who wait for a probe's outcome, each looks again this often, or a little later.
const leastLookMs = 50;
const lookSpreadMs = 200;
const untoldLookMs = 1_000;

/**
 * When to ask an endpoint again after it failed; `undefined`: not for this request. Waits are of full jitter: anything
 * up to a bound that doubles. What the endpoint said (`Retry-After`) is the least, and comes before the deadline or not at
 * all.
 */
export function nextTry(error: UpstreamError, context: RetryContext): NextTry | undefined {
  const { rules, tries, leftMs, now, random } = context;
  const most = leftMs - leastUsefulMs;
  const told = error.retryAt === undefined ? undefined : Math.max(error.retryAt - now, 0);

  const after = (least: number, spread: number, isRetry: boolean): NextTry | undefined =>
    least <= most ? { waitMs: Math.min(least + random() * spread, most), isRetry } : undefined;

  if (error.code === 'unavailable') {
    return context.patient ? after(Math.max(told ?? untoldLookMs, leastLookMs), lookSpreadMs, false) : undefined;
  }
  if (!isPassing(error) || tries >= rules.attempts) return undefined;
  // The instant itself is still within the limit.
  const least = told === undefined ? 0 : told + 1;
  return after(least, Math.min(rules.maxWaitMs, rules.minWaitMs * 2 ** (tries - 1)), true);
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
