import type { StaleReason } from './decide.ts';
import { type FreshnessRecord, latestInstant, type Outcome, type Refusal, storedValue } from './record.ts';
import { lastRefusal, readRefusal } from './refusal.ts';
import type { FreshnessRules } from './rules.ts';

/** What a request gets once the upstream was asked. */
export type Verdict<T> =
  | { kind: 'serve'; value: T; stored: boolean; validatedAt: number; stale?: StaleReason }
  | { kind: 'absent' | 'denied'; refusal: Refusal }
  | { kind: 'failed'; error: unknown };

/** When an outcome came about (ms since the epoch), and the rules it is read by. */
export interface SettleContext {
  rules: FreshnessRules;
  /** When the request to the upstream began. */
  startedAt: number;
  now: number;
}

/** The record from now on (`undefined`: as it was), and what the request gets. */
export interface Settlement<T> {
  record?: FreshnessRecord<T>;
  verdict: Verdict<T>;
}

/** What an outcome does to a record, and to the request that brought it about: pure. */
export function settle<T>(
  record: FreshnessRecord<T> | undefined,
  outcome: Outcome<T>,
  context: SettleContext,
): Settlement<T> {
  const settlement = settleNow(record, outcome, context);
  return record && isNewer(record, context) ? { verdict: settlement.verdict } : settlement;
}

/**
 * Whether a record was written since the request began: an answer that was asked for earlier never takes its place. A
 * record that lies in the future while the clock ran on during the request is from before the clock stepped back: were
 * it to count as newer, nothing could be recorded until the clock has caught up, and then it would pass for fresh.
 */
function isNewer<T>(record: FreshnessRecord<T>, { startedAt, now }: SettleContext): boolean {
  const latest = latestInstant(record);
  const beforeStep = latest > now && startedAt <= now;
  return latest > startedAt && !beforeStep;
}

/** What a request gets by the upstream's last word, which somebody else asked for while it waited. */
export function lastWord<T>(record: FreshnessRecord<T> | undefined, rules: FreshnessRules): Verdict<T> | undefined {
  const no = lastRefusal(record, rules);
  const here = storedValue(record);
  if (no) {
    if (here && no.servesStale) return { kind: 'serve', ...here, stored: true, stale: no.kind };
    return { kind: no.kind, refusal: no.refusal };
  }
  if (record?.value === undefined || record.validatedAt === undefined) return undefined;
  return { kind: 'serve', value: record.value, stored: record.stored, validatedAt: record.validatedAt };
}

function settleNow<T>(
  record: FreshnessRecord<T> | undefined,
  outcome: Outcome<T>,
  context: SettleContext,
): Settlement<T> {
  const { now: at, rules } = context;
  switch (outcome.kind) {
    case 'found': {
      const { value, stored } = outcome;
      const next: FreshnessRecord<T> = { value, stored, validatedAt: at };
      if (record?.lastComplete !== undefined) next.lastComplete = record.lastComplete;
      return { record: next, verdict: { kind: 'serve', value, stored, validatedAt: at } };
    }
    case 'absent': {
      const { code, message } = outcome;
      return refuse(record, { said: 'absent', refusal: { at, code, message } }, rules);
    }
    case 'denied': {
      const { status, message } = outcome;
      return refuse(record, { said: 'denied', refusal: { at, code: String(status), message } }, rules);
    }
    case 'failed':
      return { verdict: settleFailed(record, outcome.error, context) };
  }
}

/** The upstream said no: marked, what was known is kept, and served only where the rules say so. */
function refuse<T>(
  record: FreshnessRecord<T> | undefined,
  { said, refusal }: { said: 'absent' | 'denied'; refusal: Refusal },
  rules: FreshnessRules,
): Settlement<T> {
  const { absent: _absent, denied: _denied, ...known } = record ?? { stored: false };
  const no = readRefusal(said, refusal, rules);
  const stale = no.servesStale ? storedValue(record) : undefined;
  return {
    record: { ...known, [said]: refusal },
    verdict: stale ? { kind: 'serve', ...stale, stored: true, stale: no.kind } : { kind: no.kind, refusal: no.refusal },
  };
}

/** Could not say: what is here is served while the rules let it be, and the record stays as it was. */
function settleFailed<T>(
  record: FreshnessRecord<T> | undefined,
  error: unknown,
  { rules, now }: SettleContext,
): Verdict<T> {
  const here = storedValue(record);
  // RFC 5861 4: counted from when it became stale. A value validated "in the future" (the clock stepped back) has age 0
  // here: an outage is no time to refuse it.
  const usable = here && Math.max(now - here.validatedAt, 0) < rules.freshForMs + rules.staleIfErrorForMs;
  // What the upstream took away stays away while it fails, unless the rules serve it anyway.
  const no = lastRefusal(record, rules);
  if (!usable || (no && !no.servesStale)) return { kind: 'failed', error };
  return { kind: 'serve', ...here, stored: true, stale: 'failed' };
}
