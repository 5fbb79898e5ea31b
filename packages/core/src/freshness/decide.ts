import { type FreshnessRecord, type Refusal, storedValue } from './record.ts';
import type { FreshnessRules } from './rules.ts';

/** Why an answer is not the upstream's latest word. */
export type StaleReason = 'revalidating' | 'failed' | 'absent' | 'denied';

/** What to do with a request, before anybody is asked. */
export type Decision<T> =
  /** Serve what is here; with `revalidate`, ask the upstream behind the answer. */
  | { kind: 'serve'; value: T; validatedAt: number; stale?: StaleReason; revalidate: boolean }
  /** Ask whether what is here is still right. */
  | { kind: 'validate'; value: T }
  /** Nothing is here to fall back on. */
  | { kind: 'fetch' }
  /** The upstream said no lately. */
  | { kind: 'absent' | 'denied'; refusal: Refusal };

/**
 * What the rules make of a record at an instant: pure.
 *
 * @param now wall time in ms since the epoch
 */
export function decide<T>(record: FreshnessRecord<T> | undefined, rules: FreshnessRules, now: number): Decision<T> {
  const here = storedValue(record);

  for (const kind of ['absent', 'denied'] as const) {
    const refusal = record?.[kind];
    if (!refusal || !isWithin(refusal.at, kind === 'absent' ? rules.absentForMs : rules.deniedForMs, now)) continue;
    if (here && servesAfter(kind, rules)) return { kind: 'serve', ...here, stale: kind, revalidate: false };
    return { kind, refusal };
  }
  if (!here) return { kind: 'fetch' };

  // After a "no" nothing is fresh: only the upstream itself brings the value back.
  if (!record?.absent && !record?.denied) {
    if (isWithin(here.validatedAt, rules.freshForMs, now)) return { kind: 'serve', ...here, revalidate: false };
    if (isWithin(here.validatedAt, rules.freshForMs + rules.staleWhileRevalidateForMs, now)) {
      return { kind: 'serve', ...here, stale: 'revalidating', revalidate: true };
    }
  }
  return { kind: 'validate', value: here.value };
}

/** Whether the rules serve what is stored although the upstream's last word was this "no". */
export function servesAfter(refusal: 'absent' | 'denied', rules: FreshnessRules): boolean {
  const policy = refusal === 'absent' || rules.deniedMayMeanAbsent ? rules.onAbsent : rules.onDenied;
  return policy === 'serve-stale';
}

/**
 * Whether an instant lies less than `ms` back. One in the future is within nothing: a clock that stepped back must not
 * make a record fresh for longer than the rule says.
 */
function isWithin(instant: number, ms: number, now: number): boolean {
  const age = now - instant;
  return age >= 0 && age < ms;
}
