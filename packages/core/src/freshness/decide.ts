import { type FreshnessRecord, type Refusal, type SeenRecord, storedValue } from './record.ts';
import { lastRefusal } from './refusal.ts';
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
export function decide<T>(record: SeenRecord<T> | undefined, rules: FreshnessRules, now: number): Decision<T> {
  const here = storedValue(record);

  const no = lastRefusal(record, rules);
  if (no && isWithin(no.refusal.at, no.rememberedForMs, now)) {
    if (here && no.servesStale) return { kind: 'serve', ...here, stale: no.kind, revalidate: false };
    return { kind: no.kind, refusal: no.refusal };
  }
  if (!here) return { kind: 'fetch' };

  // After a "no" nothing is fresh: only the upstream itself brings the value back.
  if (!no && !record?.mustValidate) {
    if (isWithin(here.validatedAt, rules.freshForMs, now)) return { kind: 'serve', ...here, revalidate: false };
    if (isWithin(here.validatedAt, rules.freshForMs + rules.staleWhileRevalidateForMs, now)) {
      return { kind: 'serve', ...here, stale: 'revalidating', revalidate: true };
    }
  }
  return { kind: 'validate', value: here.value };
}

/** A decision, and the instants at which the same record and rules give the same: `from` and later, before `until`. */
export interface LastingDecision<T> {
  decision: Decision<T>;
  from: number;
  until: number;
}

/** {@link decide}, and for how long it goes on holding, so that it need not be asked at each request. */
export function decideLasting<T>(
  record: FreshnessRecord<T> | undefined,
  rules: FreshnessRules,
  now: number,
): LastingDecision<T> {
  let from = Number.NEGATIVE_INFINITY;
  let until = Number.POSITIVE_INFINITY;
  for (const turn of turns(record, rules)) {
    if (turn <= now) from = Math.max(from, turn);
    else until = Math.min(until, turn);
  }
  return { decision: decide(record, rules, now), from, until };
}

/** The instants at which a decision may become another: the two ends of all that it asks {@link isWithin} of. */
function turns<T>(record: FreshnessRecord<T> | undefined, rules: FreshnessRules): number[] {
  const found: number[] = [];
  const no = lastRefusal(record, rules);
  if (no) found.push(no.refusal.at, no.refusal.at + no.rememberedForMs);
  const here = storedValue(record);
  if (here) {
    const freshUntil = here.validatedAt + rules.freshForMs;
    found.push(here.validatedAt, freshUntil, here.validatedAt + (rules.freshForMs + rules.staleWhileRevalidateForMs));
  }
  return found;
}

/**
 * Whether an instant lies less than `ms` back. One in the future is within nothing: a clock that stepped back must not
 * make a record fresh for longer than the rule says.
 */
function isWithin(instant: number, ms: number, now: number): boolean {
  return now >= instant && now < instant + ms;
}
