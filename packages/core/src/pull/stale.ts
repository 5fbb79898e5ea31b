import type { StaleReason } from '../freshness/decide.ts';
import type { Outcome } from '../freshness/record.ts';
import type { Verdict } from '../freshness/settle.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import type { CacheStatus } from './answer.ts';

/** What a client is told when it gets something that is not, or may not be, the upstream's latest word. */
export function warningOf(
  upstream: string,
  served: { validatedAt: number; stale?: StaleReason | undefined; error?: unknown },
): string | undefined {
  const since = new Date(served.validatedAt).toISOString();
  switch (served.stale) {
    case 'failed':
      return `stale: ${upstream} ${whyFailed(served.error)}, last validated ${since}`;
    case 'absent':
      return `stale: ${upstream} has it no longer, last validated ${since}`;
    case 'denied':
      return `stale: ${upstream} denies it now, last validated ${since}`;
    default:
      // Within stale-while-revalidate the rules call it fresh enough; `Age` tells the rest.
      return undefined;
  }
}

function whyFailed(error: unknown): string {
  if (!isUpstreamError(error)) return 'is unavailable';
  if (error.code === 'offline') return 'is set to offline';
  return error.code === 'rate-limited' ? 'limits the rate of requests' : 'is unavailable';
}

/** How an answer came about, once the upstream was asked. */
export function statusOf<T>(asked: {
  verdict: Verdict<T>;
  record: { stored: boolean } | undefined;
  /** `undefined` where another process has asked. */
  outcome: (Outcome<T> & { bytes?: unknown }) | undefined;
  waited?: boolean;
  collapsed: boolean;
}): CacheStatus {
  const { outcome, record, verdict } = asked;
  const stale = verdict.kind === 'serve' && verdict.stale !== undefined;
  if (!outcome && !asked.waited) {
    // SEMANTICS 12: a fresh tag, and yet an older image.
    const isOlder = verdict.kind === 'serve' && verdict.stale === 'failed';
    return { hit: true, ...(isOlder && { detail: 'stale-failed' }) };
  }
  const fwdStatus = outcome && statusCodeOf(outcome);
  return {
    hit: false,
    fwd: record?.stored ? 'stale' : 'miss',
    ...(fwdStatus !== undefined && { fwdStatus }),
    ...(outcome?.kind === 'found' && outcome.bytes !== undefined && { stored: true }),
    ...((asked.collapsed || asked.waited) && { collapsed: true }),
    ...(stale && { detail: `stale-${verdict.stale}` }),
  };
}

function statusCodeOf<T>(outcome: Outcome<T>): number | undefined {
  switch (outcome.kind) {
    case 'found':
      return 200;
    case 'absent':
      return 404;
    case 'denied':
      return outcome.status;
    case 'failed':
      return isUpstreamError(outcome.error) ? outcome.error.status : undefined;
  }
}
