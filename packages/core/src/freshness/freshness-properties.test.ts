import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decide, decideLasting } from './decide.ts';
import type { FreshnessRecord, Outcome } from './record.ts';
import type { FreshnessRules } from './rules.ts';
import { settle } from './settle.ts';

type Rec = FreshnessRecord<number>;

const quiet: FreshnessRules = {
  freshForMs: 0,
  staleIfErrorForMs: 0,
  staleWhileRevalidateForMs: 0,
  absentForMs: 0,
  deniedForMs: 0,
  onAbsent: 'refuse',
  onDenied: 'refuse',
  deniedMayMeanAbsent: false,
};

const ms = (max: number) => fc.integer({ min: 0, max });
const limit = fc.oneof(ms(1_000), fc.constant(Number.POSITIVE_INFINITY));
const policy = fc.constantFrom('refuse' as const, 'serve-stale' as const);
const anyRules: fc.Arbitrary<FreshnessRules> = fc.record({
  freshForMs: limit,
  staleIfErrorForMs: limit,
  staleWhileRevalidateForMs: limit,
  absentForMs: limit,
  deniedForMs: ms(1_000),
  onAbsent: policy,
  onDenied: policy,
  deniedMayMeanAbsent: fc.boolean(),
});
const anyRefusal = fc.record({ at: ms(2_000), code: fc.constant('SAID'), message: fc.constant('no') });
const anyRecord: fc.Arbitrary<Rec> = fc
  .record({ value: fc.nat(9), stored: fc.boolean(), validatedAt: ms(2_000) })
  .chain((known) =>
    fc.oneof(
      fc.constant(known),
      fc.constant({ stored: false }),
      anyRefusal.map((absent) => ({ ...known, absent })),
      anyRefusal.map((denied) => ({ ...known, denied })),
    ),
  );
const found = fc.record({ kind: fc.constant('found' as const), value: fc.nat(9), stored: fc.boolean() });
const no: fc.Arbitrary<Outcome<number>> = fc.constantFrom(
  { kind: 'absent', code: 'MANIFEST_UNKNOWN', message: 'gone' },
  { kind: 'denied', status: 403, message: 'no' },
);
const failed = fc.constant<Outcome<number>>({ kind: 'failed', error: 'could not say' });
const anyOutcome: fc.Arbitrary<Outcome<number>> = fc.oneof(found, no, failed);

const latestOf = (record: Rec | undefined) =>
  Math.max(record?.validatedAt ?? 0, record?.absent?.at ?? 0, record?.denied?.at ?? 0);

describe('time', () => {
  it('a record is fresh for freshFor of the wall clock at most, wherever the clock stands', () => {
    fc.assert(
      fc.property(anyRecord, anyRules, fc.integer({ min: -3_000, max: 6_000 }), (record, rules, now) => {
        const decision = decide(record, rules, now);
        if (decision.kind !== 'serve' || decision.stale) return;
        expect(now).toBeGreaterThanOrEqual(decision.validatedAt);
        expect(now).toBeLessThan(decision.validatedAt + rules.freshForMs);
      }),
    );
  });

  it('a decision that is kept is what would be decided anew, for as long as it is said to last', () => {
    const at = fc.integer({ min: -3_000, max: 6_000 });
    fc.assert(
      fc.property(fc.option(anyRecord, { nil: undefined }), anyRules, at, at, (record, rules, now, later) => {
        const { decision, from, until } = decideLasting(record, rules, now);
        expect(decision).toEqual(decide(record, rules, now));
        expect(from <= now && now < until).toBe(true);
        const ends = [from, from - 1, until - 1, until].filter(Number.isFinite);
        for (const instant of [later, ...ends]) {
          if (instant >= from && instant < until) expect(decide(record, rules, instant)).toEqual(decision);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('a decision lasts until the instant at which the rules give another', () => {
    const record: Rec = { value: 1, stored: true, validatedAt: 1_000 };
    const rules = { ...quiet, freshForMs: 100, staleWhileRevalidateForMs: 50 };
    const spanAt = (now: number) => {
      const { decision, from, until } = decideLasting(record, rules, now);
      return [decision.kind, from, until];
    };
    const { POSITIVE_INFINITY: ever, NEGATIVE_INFINITY: always } = Number;
    expect(spanAt(999)).toEqual(['validate', always, 1_000]);
    expect(spanAt(1_000)).toEqual(['serve', 1_000, 1_100]);
    expect(spanAt(1_099)).toEqual(['serve', 1_000, 1_100]);
    expect(spanAt(1_100)).toEqual(['serve', 1_100, 1_150]);
    expect(spanAt(1_150)).toEqual(['validate', 1_150, ever]);
    expect(decideLasting(undefined, rules, 5)).toEqual({ decision: { kind: 'fetch' }, from: always, until: ever });
  });

  it('serves as fresh only what the upstream said last, however often the clock steps back', () => {
    const step = fc.record({ forward: ms(400), back: fc.oneof(fc.constant(0), ms(3_000)), says: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), limit, (steps, freshForMs) => {
        const rules = { ...quiet, freshForMs };
        let now = 10_000;
        let record: Rec | undefined;
        let lastSaid: number | undefined;
        for (const { forward, back, says } of steps) {
          now += forward - back;
          const decision = decide(record, rules, now);
          if (decision.kind === 'serve') {
            expect(decision.value).toBe(lastSaid);
            continue;
          }
          lastSaid = says;
          record = settle(record, { kind: 'found', value: says, stored: true }, { rules, startedAt: now, now }).record;
          expect(record).toEqual({ value: says, stored: true, validatedAt: now });
        }
      }),
    );
  });

  it('serves during an outage what was validated before the clock stepped back', () => {
    fc.assert(
      fc.property(ms(5_000), (stepped) => {
        const record = { value: 1, stored: true, validatedAt: 10_000 };
        const now = 10_000 - stepped;
        const rules = { ...quiet, staleIfErrorForMs: 1 };
        const { verdict } = settle(record, { kind: 'failed', error: 'down' }, { rules, startedAt: now, now });
        expect(verdict).toMatchObject({ kind: 'serve', value: 1, stale: 'failed' });
      }),
    );
  });

  it('revalidates behind the answer only between freshFor and the end of its window', () => {
    fc.assert(
      fc.property(anyRecord, anyRules, ms(6_000), (record, rules, now) => {
        const decision = decide(record, rules, now);
        if (decision.kind !== 'serve' || !decision.revalidate) return;
        const stale = now - decision.validatedAt - rules.freshForMs;
        expect(stale).toBeGreaterThanOrEqual(0);
        expect(stale).toBeLessThan(rules.staleWhileRevalidateForMs);
      }),
    );
  });

  it('takes infinity for no limit', () => {
    fc.assert(
      fc.property(ms(2_000), ms(Number.MAX_SAFE_INTEGER - 2_000), (validatedAt, age) => {
        const record = { value: 1, stored: true, validatedAt };
        const now = validatedAt + age;
        const forever = Number.POSITIVE_INFINITY;
        const at = { startedAt: now, now };
        expect(decide(record, { ...quiet, freshForMs: forever }, now)).toMatchObject({
          kind: 'serve',
          revalidate: false,
        });
        expect(decide(record, { ...quiet, staleWhileRevalidateForMs: forever }, now)).toMatchObject({
          revalidate: true,
        });
        const rules = { ...quiet, staleIfErrorForMs: forever };
        expect(settle(record, { kind: 'failed', error: '' }, { rules, ...at }).verdict.kind).toBe('serve');
      }),
    );
  });
});

describe('order', () => {
  it('an older request never overwrites a newer record', () => {
    fc.assert(
      fc.property(anyRecord, anyOutcome, anyRules, ms(2_000), ms(2_000), (record, outcome, rules, startedAt, took) => {
        const now = Math.max(startedAt + took, latestOf(record));
        const { record: next } = settle(record, outcome, { rules, startedAt, now });
        if (startedAt < latestOf(record)) expect(next).toBeUndefined();
        else expect(next === undefined).toBe(outcome.kind === 'failed');
      }),
    );
  });

  it('an older request never overwrites a newer record although the clock steps back while it runs', () => {
    fc.assert(
      fc.property(anyOutcome, anyRules, ms(1_000), ms(5_000), (outcome, rules, sooner, stepped) => {
        const record = { value: 1, stored: true, validatedAt: 10_000 };
        const startedAt = 9_999 - sooner;
        const now = startedAt - 1 - stepped;
        expect(settle(record, outcome, { rules, startedAt, now }).record).toBeUndefined();
      }),
    );
  });

  it('nothing is undone by answers that come in any order', () => {
    const request = fc.record({ startedAt: ms(1_000), took: ms(1_000), outcome: anyOutcome });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 20 }), anyRules, (requests, rules) => {
        let record: Rec | undefined;
        const byEnd = requests.map((each) => ({ ...each, now: each.startedAt + each.took }));
        for (const { startedAt, now, outcome } of byEnd.sort((a, b) => a.now - b.now)) {
          const next = settle(record, outcome, { rules, startedAt, now }).record;
          if (!next) continue;
          expect(startedAt).toBeGreaterThanOrEqual(latestOf(record));
          expect(latestOf(next)).toBe(now);
          record = next;
        }
      }),
    );
  });
});

describe('what is known', () => {
  it('is not changed by failures, nor taken for absent or denied because of them', () => {
    fc.assert(
      fc.property(
        fc.option(anyRecord, { nil: undefined }),
        failed,
        anyRules,
        ms(6_000),
        (record, outcome, rules, now) => {
          const { record: next, verdict } = settle(record, outcome, { rules, startedAt: now, now });
          expect(next).toBeUndefined();
          expect(verdict.kind).toMatch(/^(serve|failed)$/);
          if (!record?.stored) expect(verdict).toEqual(outcome);
        },
      ),
    );
  });

  it('outlives any row of "no" and failures, and is validated again by the next yes', () => {
    fc.assert(
      fc.property(anyRecord, fc.array(fc.oneof(no, failed), { maxLength: 10 }), anyRules, (first, row, rules) => {
        let record = first;
        let now = 5_000;
        for (const outcome of row) {
          now += 10;
          record = settle(record, outcome, { rules, startedAt: now, now }).record ?? record;
          const { absent: _a, denied: _d, ...known } = record;
          const { absent: _b, denied: _c, ...knownFirst } = first;
          expect(known).toEqual(knownFirst);
        }
        const yes = { kind: 'found', value: 3, stored: true } as const;
        const after = settle(record, yes, { rules, startedAt: now, now }).record;
        expect(after).toEqual({ value: 3, stored: true, validatedAt: now });
      }),
    );
  });
});
