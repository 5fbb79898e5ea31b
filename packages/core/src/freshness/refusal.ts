import type { FreshnessRecord, Refusal } from './record.ts';
import type { FreshnessRules } from './rules.ts';

/** An upstream's last word, where it was a "no", as the rules read it. */
export interface ReadRefusal {
  /** What it counts as; a denial may count as "absent". */
  kind: 'absent' | 'denied';
  refusal: Refusal;
  /** How long after `refusal.at` it is answered without asking again, in ms. */
  rememberedForMs: number;
  /** Whether what is stored is served in spite of it. */
  servesStale: boolean;
}

/** The "no" of a record, where its upstream's last word was one. */
export function lastRefusal<T>(record: FreshnessRecord<T> | undefined, rules: FreshnessRules): ReadRefusal | undefined {
  if (record?.absent) return readRefusal('absent', record.absent, rules);
  if (record?.denied) return readRefusal('denied', record.denied, rules);
  return undefined;
}

/** Reads a "no" by the rules: records hold what was said, and only the rules what that means. */
export function readRefusal(said: 'absent' | 'denied', refusal: Refusal, rules: FreshnessRules): ReadRefusal {
  if (said === 'denied' && !rules.deniedMayMeanAbsent) {
    const servesStale = rules.onDenied === 'serve-stale';
    return { kind: 'denied', refusal, rememberedForMs: rules.deniedForMs, servesStale };
  }
  const servesStale = rules.onAbsent === 'serve-stale';
  if (said === 'absent') return { kind: 'absent', refusal, rememberedForMs: rules.absentForMs, servesStale };
  return { kind: 'absent', refusal, rememberedForMs: Math.max(rules.absentForMs, rules.deniedForMs), servesStale };
}
