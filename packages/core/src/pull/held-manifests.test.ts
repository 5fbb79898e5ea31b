import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { TagRecord } from '../catalog/tag-records.ts';
import { decide } from '../freshness/decide.ts';
import type { FreshnessRules } from '../freshness/rules.ts';
import type { BreakerState } from '../upstream/breaker.ts';
import { answerByTag, createHeldManifests } from './held-manifests.ts';
import type { Target } from './target.ts';

const bytes = new Map(['a1', 'b2'].map((pair) => [`sha256:${pair.repeat(32)}`, Buffer.from(`{"is":"${pair}"}`)]));
const digests = [...bytes.keys()] as `sha256:${string}`[];
const link = { mediaType: 'application/json', provenAt: 0, generation: 'g' };

/** One tag in memory, which the test changes, and how often it was looked for. */
function make(rules: FreshnessRules, state: () => BreakerState = () => 'closed') {
  const memory: { record?: TagRecord; looks: number } = { looks: 0 };
  const heldManifests = createHeldManifests({
    tags: {
      lookup: () => () => {
        memory.looks++;
        return memory.record;
      },
    },
    links: { lookup: () => () => link },
    manifests: { held: (digest: string) => bytes.get(digest) },
  } as unknown as Parameters<typeof createHeldManifests>[0]);
  const target = {
    place: { upstream: 'up', scope: '-', repository: 'a', generation: 'g' },
    upstream: { rules, client: { state } },
  };
  return { memory, find: heldManifests(target as unknown as Target, { kind: 'tag', tag: '1' }) };
}

const ms = (max: number) => fc.integer({ min: 0, max });
const limit = fc.oneof(ms(300), fc.constant(Number.POSITIVE_INFINITY));
const policy = fc.constantFrom('refuse' as const, 'serve-stale' as const);
const anyRules: fc.Arbitrary<FreshnessRules> = fc.record({
  freshForMs: limit,
  staleIfErrorForMs: limit,
  staleWhileRevalidateForMs: limit,
  absentForMs: limit,
  deniedForMs: ms(300),
  onAbsent: policy,
  onDenied: policy,
  deniedMayMeanAbsent: fc.boolean(),
});
const refusal = fc.record({ at: ms(1_000), code: fc.constant('NO'), message: fc.constant('no') });
const known = fc.record({
  value: fc.constantFrom(...digests).map((digest) => ({ mediaType: 'application/json', digest, size: 11 })),
  stored: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.constant(false)),
  validatedAt: ms(1_000),
});
const anyRecord: fc.Arbitrary<TagRecord> = fc.oneof(
  { weight: 3, arbitrary: known },
  fc.tuple(known, refusal).map(([record, absent]) => ({ ...record, absent })),
  fc.tuple(known, refusal).map(([record, denied]) => ({ ...record, denied })),
);
/** The clock may step either way, and the record be replaced, be looked at again, or go. */
const step = fc.record({
  by: fc.integer({ min: -200, max: 200 }),
  record: fc.oneof({ weight: 6, arbitrary: fc.constant('same' as const) }, fc.option(anyRecord, { nil: undefined })),
  want: fc.constantFrom('bytes' as const, 'descriptor' as const),
});

test('a tag in memory is answered as its record, the rules and the clock say now, whatever was answered before', () => {
  fc.assert(
    fc.property(anyRules, fc.array(step, { minLength: 20, maxLength: 60 }), (rules, steps) => {
      const { memory, find } = make(rules);
      let now = 500;
      for (const { by, record, want } of steps) {
        now += by;
        if (record !== 'same') {
          if (record) memory.record = record;
          else delete memory.record;
        }
        const decision = memory.record?.stored ? decide(memory.record, rules, now) : undefined;
        const isFresh = decision?.kind === 'serve' && decision.stale === undefined;
        const { value, validatedAt } = isFresh ? decision : {};
        const expected =
          value && validatedAt !== undefined
            ? answerByTag(
                { value, validatedAt, ...(want === 'bytes' && { bytes: bytes.get(value.digest) }) },
                { hit: true },
              )
            : undefined;
        expect(find(want, now)).toEqual(expected);
      }
    }),
    { numRuns: 1_000 },
  );
});

test('each request looks for its tag, so that one in use is not what makes way in memory', () => {
  const rules = { freshForMs: 100, staleWhileRevalidateForMs: 0 } as FreshnessRules;
  const { memory, find } = make(rules);
  const [digest] = digests;
  memory.record = { value: { mediaType: 'application/json', digest: digest!, size: 11 }, stored: true, validatedAt: 0 };
  const answers = [1, 2, 3].map((now) => find('bytes', now));
  expect(new Set(answers).size).toBe(1);
  expect(answers[0]?.bytes).toBe(bytes.get(digest!));
  expect(memory.looks).toBe(3);
});

test('12: a tag that has an older image to lose to is answered from memory while its upstream is known to be up', () => {
  const rules = { freshForMs: 100, staleWhileRevalidateForMs: 0 } as FreshnessRules;
  const asked: string[] = [];
  let state: BreakerState = 'closed';
  const { memory, find } = make(rules, () => {
    asked.push(state);
    return state;
  });
  const [value, older] = digests.map((digest) => ({ mediaType: 'application/json', digest, size: 11 }));
  const record = { value: value!, stored: true, validatedAt: 0 };
  memory.record = { ...record, lastComplete: older! };
  for (state of ['closed', 'open', 'half-open', 'closed'] as const) {
    expect(find('bytes', 1) !== undefined, state).toBe(state === 'closed');
    expect(find('descriptor', 1) !== undefined, state).toBe(state === 'closed');
  }
  asked.length = 0;
  state = 'open';
  for (const alone of [record, { ...record, lastComplete: value! }]) {
    memory.record = alone;
    expect(find('bytes', 1)?.bytes).toBe(bytes.get(value!.digest));
  }
  // Of what has nothing to lose to nobody asks.
  expect(asked).toEqual([]);
});

test('a manifest whose type was told by a HEAD alone is not answered from memory', () => {
  const [digest] = digests as [`sha256:${string}`];
  let told: object = { ...link, typeUnchecked: true };
  const heldManifests = createHeldManifests({
    links: { lookup: () => () => told },
    manifests: { held: () => bytes.get(digest) },
  } as unknown as Parameters<typeof createHeldManifests>[0]);
  const find = heldManifests({ place: {}, upstream: {} } as unknown as Target, { kind: 'digest', digest });
  expect(find('bytes', 0)).toBeUndefined();
  told = link;
  expect(find('bytes', 0)?.bytes).toBe(bytes.get(digest));
});
