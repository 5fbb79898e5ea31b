import { describe, expect, it } from 'vitest';
import { type Decision, decide } from './decide.ts';
import type { FreshnessRecord, Outcome, Refusal } from './record.ts';
import type { FreshnessRules } from './rules.ts';
import { type SettleContext, type Settlement, settle } from './settle.ts';

// Every shape of record, against every outcome, under every rule, held to what must be true whatever the code does.

type Rec = FreshnessRecord<string>;
type Check = [rule: string, holds: boolean];

const now = 100_000;
const infinity = Number.POSITIVE_INFINITY;
// An age below 0 is an instant in the future: the clock stepped back.
const ages = [-500, 0, 50, 150, 250, 90_000];

function* product<T extends Record<string, readonly unknown[]>>(lists: T): Generator<{ [K in keyof T]: T[K][number] }> {
  const [[key, values] = [], ...rest] = Object.entries(lists);
  if (key === undefined || values === undefined) return yield {} as { [K in keyof T]: T[K][number] };
  for (const tail of product(Object.fromEntries(rest))) {
    for (const value of values) yield { [key]: value, ...tail } as { [K in keyof T]: T[K][number] };
  }
}

const refusalOf = (age: number): Refusal => ({ at: now - age, code: 'SAID', message: 'said no' });

const values: Rec[] = [
  { stored: false },
  ...ages.flatMap((age): Rec[] => [
    { value: 'old', stored: false, validatedAt: now - age },
    { value: 'old', stored: true, validatedAt: now - age },
    { value: 'old', stored: true, validatedAt: now - age, lastComplete: 'older' },
  ]),
];
const records: (Rec | undefined)[] = [
  undefined,
  ...values.flatMap((record) => [
    record,
    ...ages.flatMap((age): Rec[] => [
      { ...record, absent: refusalOf(age) },
      { ...record, denied: refusalOf(age) },
    ]),
  ]),
];
for (const record of records) Object.freeze(record);

const outcomes: Outcome<string>[] = [
  { kind: 'found', value: 'old', stored: true },
  { kind: 'found', value: 'new', stored: true },
  { kind: 'found', value: 'new', stored: false },
  { kind: 'absent', code: 'MANIFEST_UNKNOWN', message: 'gone' },
  { kind: 'denied', status: 401, message: 'no' },
  { kind: 'failed', error: 'could not say' },
];

const allRules: FreshnessRules[] = [
  ...product({
    freshForMs: [0, 100, infinity],
    staleIfErrorForMs: [0, 100, infinity],
    staleWhileRevalidateForMs: [0, 100, infinity],
    absentForMs: [0, 200],
    deniedForMs: [100],
    onAbsent: ['refuse', 'serve-stale'] as const,
    onDenied: ['refuse', 'serve-stale'] as const,
    deniedMayMeanAbsent: [false, true],
  }),
];

const within = (at: number | undefined, ms: number) => at !== undefined && at <= now && now - at < ms;
const isHere = (record: Rec | undefined) => record?.stored === true && record.value !== undefined;
const lastWordWasNo = (record: Rec | undefined) => Boolean(record?.absent ?? record?.denied);

/** Whether the rules serve a stored value although the last word was this "no". */
function mayServe(said: 'absent' | 'denied', rules: FreshnessRules): boolean {
  return (said === 'absent' || rules.deniedMayMeanAbsent ? rules.onAbsent : rules.onDenied) === 'serve-stale';
}

function checkDecision(record: Rec | undefined, rules: FreshnessRules, decision: Decision<string>): Check[] {
  const here = isHere(record);
  const no = lastWordWasNo(record);
  const fresh = here && !no && within(record?.validatedAt, rules.freshForMs);
  const remembered =
    within(record?.absent?.at, rules.absentForMs) ||
    within(record?.denied?.at, rules.deniedForMs) ||
    (rules.deniedMayMeanAbsent && within(record?.denied?.at, rules.absentForMs));
  const window = here && !no && within(record?.validatedAt, rules.freshForMs + rules.staleWhileRevalidateForMs);
  switch (decision.kind) {
    case 'serve':
      return [
        ['only what is here is served, as it was validated', here && decision.value === record?.value],
        ['its instant is that of its validation', decision.validatedAt === record?.validatedAt],
        ['without a word it is fresh', decision.stale !== undefined || fresh],
        ['revalidating says so', decision.revalidate === (decision.stale === 'revalidating')],
        ['revalidates within its window, when no longer fresh', !decision.revalidate || (window && !fresh)],
        ['a "no" is overruled only while it is remembered', !no || (remembered && decision.stale !== undefined)],
        ['an absent is overruled only by onAbsent', !record?.absent || mayServe('absent', rules)],
        ['a denied is overruled only by its policy', !record?.denied || mayServe('denied', rules)],
        ['nothing failed yet', decision.stale !== 'failed'],
      ];
    case 'validate':
      return [
        ['there is something to validate', here && decision.value === record?.value],
        ['what is fresh is not asked for', !fresh],
        ['what may be revalidated behind is not waited for', !window],
        ['a remembered "no" is not asked again', !remembered],
      ];
    case 'fetch':
      return [
        ['nothing is here', !here],
        ['a remembered "no" is not asked again', !remembered],
      ];
    default:
      return [
        ['a "no" was said lately', remembered],
        ['it is passed on with its instant', decision.refusal.at === (record?.absent ?? record?.denied)?.at],
        ['denied is what was denied', decision.kind === 'absent' || record?.denied !== undefined],
        [
          'denied counts as absent by rule only',
          decision.kind === 'denied' || !record?.denied || rules.deniedMayMeanAbsent,
        ],
        ['nothing could be served instead', !here || !mayServe(record?.absent ? 'absent' : 'denied', rules)],
      ];
  }
}

function checkSettlement(
  record: Rec | undefined,
  outcome: Outcome<string>,
  { rules, startedAt }: SettleContext,
  { record: next, verdict }: Settlement<string>,
): Check[] {
  const here = isHere(record);
  const latest = Math.max(record?.validatedAt ?? 0, record?.absent?.at ?? 0, record?.denied?.at ?? 0);
  const refused = outcome.kind === 'absent' || outcome.kind === 'denied';
  const checks: Check[] = [
    ['a failure changes no record', outcome.kind !== 'failed' || next === undefined],
    ['failed only when the upstream failed', verdict.kind !== 'failed' || outcome.kind === 'failed'],
    [
      'never absent or denied when it could not say',
      outcome.kind !== 'failed' || ['serve', 'failed'].includes(verdict.kind),
    ],
    [
      'found is served as found',
      outcome.kind !== 'found' || (verdict.kind === 'serve' && verdict.value === outcome.value),
    ],
    ['found is not stale', outcome.kind !== 'found' || (verdict.kind === 'serve' && verdict.stale === undefined)],
    ['an older request never replaces a newer record', !(startedAt < latest && latest <= now) || next === undefined],
    ['a later request replaces an older record', startedAt < latest || outcome.kind === 'failed' || next !== undefined],
    ['a record of the future is replaced', latest <= now || outcome.kind === 'failed' || next !== undefined],
    ['a "no" for what is not here is passed on', !refused || here || ['absent', 'denied'].includes(verdict.kind)],
    ['absent is never made denied', outcome.kind !== 'absent' || verdict.kind !== 'denied'],
    [
      'denied is made absent by rule only',
      outcome.kind !== 'denied' || verdict.kind !== 'absent' || rules.deniedMayMeanAbsent,
    ],
  ];
  if (next) {
    const { absent, denied, ...facts } = next;
    const { absent: _absent, denied: _denied, ...before } = record ?? { stored: false };
    checks.push(
      ['one last word at most', !(absent && denied)],
      ['the record says which "no" was said', outcome.kind === 'absent' ? absent !== undefined : absent === undefined],
      ['and no other', outcome.kind === 'denied' ? denied !== undefined : denied === undefined],
      ['a "no" loses nothing that was known', !refused || JSON.stringify(facts) === JSON.stringify(before)],
      ['found is validated now', outcome.kind !== 'found' || facts.validatedAt === now],
      ['the last complete value is kept', facts.lastComplete === record?.lastComplete],
    );
  }
  if (verdict.kind === 'serve' && outcome.kind !== 'found') {
    const age = Math.max(now - (record?.validatedAt ?? -infinity), 0);
    checks.push(
      ['only what is here is served', here && verdict.stored && verdict.value === record?.value],
      [
        'with its own instant, said to be stale',
        verdict.validatedAt === record?.validatedAt && verdict.stale !== undefined,
      ],
    );
    if (outcome.kind !== 'failed') checks.push(['by its policy', mayServe(outcome.kind, rules)]);
    if (outcome.kind === 'failed') {
      checks.push(
        ['within stale-if-error', age < rules.freshForMs + rules.staleIfErrorForMs],
        ['what was taken away stays away', !record?.absent || mayServe('absent', rules)],
        ['what was denied stays denied', !record?.denied || mayServe('denied', rules)],
      );
    }
  }
  if (outcome.kind === 'failed' && here && !lastWordWasNo(record) && rules.staleIfErrorForMs === infinity) {
    checks.push(['without a limit what is here is served', verdict.kind === 'serve' && verdict.stale === 'failed']);
  }
  return checks;
}

/** Fails with the first case of each broken rule. */
function report(broken: Map<string, unknown>): void {
  expect(Object.fromEntries(broken)).toEqual({});
}

describe('every record under every rule', () => {
  it('is decided as the rules say', () => {
    const broken = new Map<string, unknown>();
    const kinds = new Set<string>();
    for (const rules of allRules) {
      for (const record of records) {
        const decision = decide(record, rules, now);
        kinds.add(decision.kind === 'serve' ? `serve ${decision.stale}` : decision.kind);
        for (const [rule, holds] of checkDecision(record, rules, decision)) {
          if (!holds && !broken.has(rule)) broken.set(rule, { record, rules, decision });
        }
      }
    }
    report(broken);
    const all = ['absent', 'denied', 'fetch', 'serve absent', 'serve denied', 'serve revalidating', 'serve undefined'];
    expect([...kinds].sort()).toEqual([...all, 'validate']);
  });

  it.each(outcomes)('settles $kind $value as the rules say', (outcome) => {
    const broken = new Map<string, unknown>();
    for (const rules of allRules) {
      for (const record of records) {
        for (const startedAt of [now, now - 100, now - 1_000]) {
          const context = { rules, startedAt, now };
          const settlement = settle(record, outcome, context);
          for (const [rule, holds] of checkSettlement(record, outcome, context, settlement)) {
            if (!holds && !broken.has(rule)) broken.set(rule, { record, context, settlement });
          }
        }
      }
    }
    report(broken);
  });

  it('leaves the same facts under all rules', () => {
    for (const record of records) {
      for (const outcome of outcomes) {
        const facts = new Set(
          allRules.map((rules) => JSON.stringify(settle(record, outcome, { rules, startedAt: now, now }).record)),
        );
        expect(facts.size).toBe(1);
      }
    }
  });
});
