import { describe, expect, it } from 'vitest';
import { decide } from './decide.ts';
import type { FreshnessRecord, Outcome, SeenRecord } from './record.ts';
import type { FreshnessRules } from './rules.ts';
import { settle, type Verdict } from './settle.ts';

// The table "Freshness of a tag" of docs/concepts.md: what a pull gets, and what is remembered of it.

const now = 1_000_000;
const defaults: FreshnessRules = {
  freshForMs: 0,
  staleIfErrorForMs: Number.POSITIVE_INFINITY,
  staleWhileRevalidateForMs: 0,
  absentForMs: 0,
  deniedForMs: 5_000,
  onAbsent: 'refuse',
  onDenied: 'refuse',
  deniedMayMeanAbsent: false,
};

const stored = (ageMs: number): FreshnessRecord<string> => ({
  value: 'old image',
  stored: true,
  validatedAt: now - ageMs,
});
const known: FreshnessRecord<string> = { value: 'old image', stored: false, validatedAt: now - 10 };
const says = {
  same: { kind: 'found', value: 'old image', stored: true },
  another: { kind: 'found', value: 'new image', stored: true },
  absent: { kind: 'absent', code: 'MANIFEST_UNKNOWN', message: 'gone' },
  denied: { kind: 'denied', status: 403, message: 'no' },
  failed: { kind: 'failed', error: new Error('unreachable') },
} as const satisfies Record<string, Outcome<string>>;

interface Pull {
  asked: 'no' | 'before' | 'behind';
  answer: Verdict<string> | { kind: 'serve'; value: string; validatedAt: number };
  record: FreshnessRecord<string> | undefined;
}

/** One pull by tag: decide, ask where that is the decision, settle. */
function pull(record: SeenRecord<string> | undefined, outcome: Outcome<string>, rules: Partial<FreshnessRules>): Pull {
  const all = { ...defaults, ...rules };
  const decision = decide(record, all, now);
  const settled = settle(record, outcome, { rules: all, startedAt: now, now });
  const after = settled.record ?? record;
  if (decision.kind === 'validate' || decision.kind === 'fetch') {
    return { asked: 'before', answer: settled.verdict, record: after };
  }
  if (decision.kind !== 'serve') return { asked: 'no', answer: decision, record };
  const { revalidate, ...answer } = decision;
  return revalidate ? { asked: 'behind', answer, record: after } : { asked: 'no', answer, record };
}

describe('a stored tag', () => {
  it('is served without asking while it is younger than freshFor', () => {
    const { asked, answer } = pull(stored(999), says.failed, { freshForMs: 1_000 });
    expect(asked).toBe('no');
    expect(answer).toEqual({ kind: 'serve', value: 'old image', validatedAt: now - 999 });
  });

  it('is asked for first where it must be validated, however young, and keeps its age while the upstream fails', () => {
    const rules = { freshForMs: 1_000, staleWhileRevalidateForMs: 1_000 };
    const { asked, answer } = pull({ ...stored(10), mustValidate: true }, says.failed, rules);
    expect(asked).toBe('before');
    expect(answer).toMatchObject({ kind: 'serve', value: 'old image', stale: 'failed', validatedAt: now - 10 });
  });

  it('is asked for on each pull by default', () => {
    expect(pull(stored(0), says.same, {}).asked).toBe('before');
  });

  it('is served and counts as validated now when the upstream says the same', () => {
    const { asked, answer, record } = pull(stored(1_000), says.same, { freshForMs: 1_000 });
    expect(asked).toBe('before');
    expect(answer).toEqual({ kind: 'serve', value: 'old image', stored: true, validatedAt: now });
    expect(record).toEqual(stored(0));
  });

  it('is replaced by the new image when the upstream says another digest', () => {
    const { answer, record } = pull(stored(1_000), says.another, {});
    expect(answer).toEqual({ kind: 'serve', value: 'new image', stored: true, validatedAt: now });
    expect(record).toEqual({ value: 'new image', stored: true, validatedAt: now });
  });

  it('is refused and kept, marked absent, when the upstream says 404', () => {
    const { answer, record } = pull(stored(1_000), says.absent, {});
    const refusal = { at: now, code: 'MANIFEST_UNKNOWN', message: 'gone' };
    expect(answer).toEqual({ kind: 'absent', refusal });
    expect(record).toEqual({ ...stored(1_000), absent: refusal });
  });

  it('is served although the upstream says 404 with onAbsent serve-stale', () => {
    const { answer, record } = pull(stored(1_000), says.absent, { onAbsent: 'serve-stale' });
    expect(answer).toMatchObject({ kind: 'serve', value: 'old image', stale: 'absent', validatedAt: now - 1_000 });
    expect(record?.absent?.at).toBe(now);
  });

  it('is refused and kept when the upstream denies it', () => {
    const { answer, record } = pull(stored(1_000), says.denied, {});
    const refusal = { at: now, code: '403', message: 'no' };
    expect(answer).toEqual({ kind: 'denied', refusal });
    expect(record).toEqual({ ...stored(1_000), denied: refusal });
  });

  it('is served although the upstream denies it with onDenied serve-stale', () => {
    const { answer } = pull(stored(1_000), says.denied, { onDenied: 'serve-stale' });
    expect(answer).toMatchObject({ kind: 'serve', value: 'old image', stale: 'denied' });
  });

  it('is treated by onAbsent when denied may mean absent, and the record still says denied', () => {
    const refused = pull(stored(1_000), says.denied, { deniedMayMeanAbsent: true, onDenied: 'serve-stale' });
    expect(refused.answer).toEqual({ kind: 'absent', refusal: { at: now, code: '403', message: 'no' } });
    expect(refused.record).toEqual({ ...stored(1_000), denied: { at: now, code: '403', message: 'no' } });
    const served = pull(stored(1_000), says.denied, { deniedMayMeanAbsent: true, onAbsent: 'serve-stale' });
    expect(served.answer).toMatchObject({ kind: 'serve', value: 'old image', stale: 'absent' });
  });

  it('is served stale, its record untouched, when the upstream fails within staleIfErrorFor', () => {
    for (const rules of [{}, { staleIfErrorForMs: 1_001 }, { freshForMs: 500, staleIfErrorForMs: 501 }]) {
      const { answer, record } = pull(stored(1_000), says.failed, rules);
      expect(answer).toEqual({
        kind: 'serve',
        value: 'old image',
        stored: true,
        stale: 'failed',
        validatedAt: now - 1_000,
      });
      expect(record).toEqual(stored(1_000));
    }
  });

  it('is not served when the upstream fails longer than staleIfErrorFor', () => {
    for (const rules of [{ staleIfErrorForMs: 1_000 }, { freshForMs: 500, staleIfErrorForMs: 500 }]) {
      expect(pull(stored(1_000), says.failed, rules).answer).toEqual(says.failed);
    }
    expect(pull(stored(0), says.failed, { staleIfErrorForMs: 0 }).answer).toEqual(says.failed);
  });

  it('is served at once and asked for behind the answer within staleWhileRevalidateFor', () => {
    const rules = { freshForMs: 500, staleWhileRevalidateForMs: 501 };
    const { asked, answer, record } = pull(stored(1_000), says.another, rules);
    expect(asked).toBe('behind');
    expect(answer).toMatchObject({ kind: 'serve', value: 'old image', stale: 'revalidating' });
    expect(record?.value).toBe('new image');
    expect(pull(stored(1_001), says.another, rules).asked).toBe('before');
  });

  it('stays refused while the upstream fails after it said no', () => {
    const gone = { ...stored(1_000), absent: { at: now - 500, code: 'MANIFEST_UNKNOWN', message: 'gone' } };
    expect(pull(gone, says.failed, {}).answer).toEqual(says.failed);
    expect(pull(gone, says.failed, { onAbsent: 'serve-stale' }).answer).toMatchObject({ kind: 'serve' });
    const denied = { ...stored(1_000), denied: { at: now - 5_000, code: '401', message: 'no' } };
    expect(pull(denied, says.failed, {}).answer).toEqual(says.failed);
  });

  it('comes back as soon as the upstream has it again', () => {
    const gone = { ...stored(1_000), absent: { at: now - 500, code: 'MANIFEST_UNKNOWN', message: 'gone' } };
    const { asked, answer, record } = pull(gone, says.same, { freshForMs: 10_000 });
    expect(asked).toBe('before');
    expect(answer).toMatchObject({ kind: 'serve', value: 'old image' });
    expect(record).toEqual(stored(0));
  });
});

describe.each([
  ['a tag nothing is known of', undefined],
  ['a tag known by HEAD alone', known],
])('%s', (_name, record) => {
  it('is fetched however long records stay fresh', () => {
    const rules = { freshForMs: 10_000, staleWhileRevalidateForMs: 10_000 };
    expect(pull(record, says.another, rules)).toMatchObject({ asked: 'before', answer: { value: 'new image' } });
  });

  it('is absent when the upstream says 404, and remembered so for absentFor', () => {
    const { answer, record: after } = pull(record, says.absent, {});
    expect(answer.kind).toBe('absent');
    expect(pull(after, says.another, { absentForMs: 1 })).toMatchObject({ asked: 'no', answer: { kind: 'absent' } });
    expect(pull(after, says.another, {})).toMatchObject({ asked: 'before', answer: { value: 'new image' } });
  });

  it('is denied when the upstream denies it, and remembered so for 5 s', () => {
    const { record: after } = pull(record, says.denied, {});
    expect(pull(after, says.another, {})).toMatchObject({ asked: 'no', answer: { kind: 'denied' } });
    expect(pull(after, says.another, { deniedMayMeanAbsent: true })).toMatchObject({
      asked: 'no',
      answer: { kind: 'absent', refusal: { code: '403' } },
    });
    const later = { ...after, stored: false, denied: { at: now - 5_000, code: '403', message: 'no' } };
    expect(pull(later, says.another, {})).toMatchObject({ asked: 'before', answer: { value: 'new image' } });
  });

  it('fails and leaves the record alone when the upstream fails', () => {
    const { answer, record: after } = pull(record, says.failed, {});
    expect(answer).toEqual(says.failed);
    expect(after).toEqual(record);
  });
});
