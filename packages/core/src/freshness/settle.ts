import { type StaleReason, servesAfter } from './decide.ts';
import { type FreshnessRecord, type Outcome, type Refusal, storedValue } from './record.ts';
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
  // An answer that was asked for earlier never takes the place of one that came since.
  const latest = Math.max(record?.validatedAt ?? 0, record?.absent?.at ?? 0, record?.denied?.at ?? 0);
  return latest > context.startedAt ? { verdict: settlement.verdict } : settlement;
}

function settleNow<T>(
  record: FreshnessRecord<T> | undefined,
  outcome: Outcome<T>,
  context: SettleContext,
): Settlement<T> {
  switch (outcome.kind) {
    case 'found': {
      const { value, stored } = outcome;
      const next: FreshnessRecord<T> = { value, stored, validatedAt: context.now };
      if (record?.lastComplete !== undefined) next.lastComplete = record.lastComplete;
      return { record: next, verdict: { kind: 'serve', value, stored, validatedAt: context.now } };
    }
    case 'absent':
      return refuse(record, 'absent', { at: context.now, code: outcome.code, message: outcome.message }, context);
    case 'denied':
      return refuse(
        record,
        context.rules.deniedMayMeanAbsent ? 'absent' : 'denied',
        { at: context.now, code: String(outcome.status), message: outcome.message },
        context,
      );
    case 'failed':
      return { verdict: settleFailed(record, outcome.error, context) };
  }
}

/** The upstream said no: marked, what was known is kept, and served only where the rules say so. */
function refuse<T>(
  record: FreshnessRecord<T> | undefined,
  kind: 'absent' | 'denied',
  refusal: Refusal,
  { rules }: SettleContext,
): Settlement<T> {
  const { absent: _absent, denied: _denied, ...known } = record ?? { stored: false };
  const stale = servesAfter(kind, rules) ? storedValue(record) : undefined;
  return {
    record: { ...known, [kind]: refusal },
    verdict: stale ? { kind: 'serve', ...stale, stored: true, stale: kind } : { kind, refusal },
  };
}

/** Could not say: what is here is served while the rules let it be, and the record stays as it was. */
function settleFailed<T>(
  record: FreshnessRecord<T> | undefined,
  error: unknown,
  { rules, now }: SettleContext,
): Verdict<T> {
  const here = storedValue(record);
  // A value validated "in the future" (the clock stepped back) has age 0 here: an outage is no time to refuse it.
  const usable = here && Math.max(now - here.validatedAt, 0) <= rules.staleIfErrorForMs;
  // What the upstream took away stays away while it fails, unless the rules serve it anyway.
  const withheld =
    (record?.absent && !servesAfter('absent', rules)) || (record?.denied && !servesAfter('denied', rules));
  return usable && !withheld ? { kind: 'serve', ...here, stored: true, stale: 'failed' } : { kind: 'failed', error };
}
