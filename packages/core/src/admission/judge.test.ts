import { gate, type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Place } from '../catalog/place.ts';
import { digestOf } from '../oci/digest.ts';
import type { AdmissionEvents } from './events.ts';
import type { AdmissionContext, AdmissionDecision, Admit } from './hook.ts';
import { createJudge, type Judge } from './judge.ts';
import { createPlaces } from './places.ts';
import type { Question } from './question.ts';

const { signal } = new AbortController();
const place: Place = { upstream: 'up', scope: '-', repository: 'team/app', generation: 'g1' };
const bytes = Buffer.from('{"schemaVersion":2,"layers":[]}');

let clock: ManualClock;
let events: AdmissionEvents[];
let asked: AdmissionContext[];
beforeEach(() => {
  clock = manualClock();
  events = [];
  asked = [];
});

function judgeBy(admit: Admit, version: string | (() => string) = ''): Judge {
  const counted: Admit = (context) => {
    asked.push(context);
    return admit(context);
  };
  const firstSeen = { of: async () => clock.now() };
  const settings = { admit: counted, version, within: 1_000, decisionFor: 1_000 };
  return createJudge(settings, { clock, firstSeen, observe: (event) => events.push(event) });
}

function question(name?: string, tag = '1'): Question {
  const digest = digestOf(bytes);
  const request = { method: 'GET', url: '/', basePath: '', headers: { get: () => null }, signal };
  return {
    place,
    digest,
    reference: { kind: 'tag', tag },
    asker: { identity: name === undefined ? undefined : { name }, request },
    parents: [],
    found: { descriptor: { mediaType: '', digest, size: bytes.byteLength }, bytes },
    namedAt: undefined,
    content: {} as Question['content'],
  };
}

const allow: AdmissionDecision = { allow: true };
const byName: Admit = async ({ identity }) => (identity?.name === 'ann' ? allow : { deny: true, reason: 'not ann' });

describe('questions at the same time', () => {
  it('are one, where the hook looks at nothing that differs', async () => {
    const held = gate();
    const judge = judgeBy(async () => {
      await held.pass();
      return allow;
    });
    const all = ['ann', 'bob', undefined].map((name) => judge.judge(question(name), signal));
    await held.reached;
    held.open();
    for (const judgement of await Promise.all(all)) expect(judgement.kind).toBe('allow');
    expect(asked).toHaveLength(1);
  });

  it('never give one caller what was decided for another', async () => {
    const held = gate();
    const judge = judgeBy(async (context) => {
      await held.pass();
      return byName(context);
    });
    const names = ['ann', 'bob', 'ann', undefined, 'bob'];
    const all = names.map((name) => judge.judge(question(name), signal));
    await held.reached;
    held.open();
    const kinds = (await Promise.all(all)).map(({ kind }) => kind);
    expect(kinds).toEqual(['allow', 'deny', 'allow', 'deny', 'deny']);
    expect(asked).toHaveLength(3);
    for (const name of names) await judge.judge(question(name), signal);
    expect(asked).toHaveLength(3);
  });

  it('are each asked by itself where the hook looks at the request', async () => {
    const judge = judgeBy(({ request }) => (request ? allow : { deny: true, reason: 'no request' }));
    const all = Array.from({ length: 4 }, () => judge.judge(question(), signal));
    await Promise.all(all);
    expect(asked).toHaveLength(4);
    expect(judge.known(question())).toBeUndefined();
  });
});

describe('a decision that is kept', () => {
  it('is known at once, for whom it holds, and as long as it does', async () => {
    const judge = judgeBy(byName);
    await judge.judge(question('ann'), signal);
    expect(judge.known(question('ann'))?.kind).toBe('allow');
    expect(judge.known(question('bob'))).toBeUndefined();
    expect(judge.known({ ...question('ann'), place: { ...place, scope: 'other' } })).toBeUndefined();
    await clock.advance(999);
    expect(judge.known(question('ann'))).toBeDefined();
    await clock.advance(1);
    expect(judge.known(question('ann'))).toBeUndefined();
  });

  it('does not hold for longer by a clock that stepped back', async () => {
    const judge = judgeBy(() => allow);
    await judge.judge(question(), signal);
    clock.set(clock.now() - 1);
    expect(judge.known(question())).toBeUndefined();
  });

  it('holds until the instant that it names: a hold to its end', async () => {
    const at = clock.now();
    const judge = judgeBy(() => ({ holdUntil: at + 50_000 }));
    expect(await judge.judge(question(), signal)).toEqual({ kind: 'hold', until: at + 50_000, reason: undefined });
    await clock.advance(49_999);
    expect(judge.known(question())?.kind).toBe('hold');
    await clock.advance(1);
    expect(judge.known(question())).toBeUndefined();
    expect(events).toMatchObject([{ type: 'admission', decision: 'hold', until: at + 50_000, reference: '1' }]);
  });

  it('is of one version of the policy', async () => {
    let version = 'a';
    const judge = judgeBy(
      () => allow,
      () => version,
    );
    await judge.judge(question(), signal);
    version = 'b';
    expect(judge.known(question())).toBeUndefined();
    version = 'a';
    expect(judge.known(question())).toBeDefined();
  });

  it('is none of a hook that failed: the next one is asked anew', async () => {
    let fails = true;
    const judge = judgeBy(() => {
      if (fails) throw new Error('password=secret away');
      return allow;
    });
    await expect(judge.judge(question(), signal)).rejects.toMatchObject({
      code: 'admission-failed',
      message: 'it could not be decided whether team/app:1 may be pulled',
    });
    expect(events).toMatchObject([{ type: 'admission-failed', error: 'password=[redacted] away' }]);
    fails = false;
    expect((await judge.judge(question(), signal)).kind).toBe('allow');
  });
});

describe('hooks at once', () => {
  const ask = (judge: Judge, n: number, client = new AbortController()) => {
    const one = question(undefined, String(n));
    return judge.judge({ ...one, digest: digestOf(Buffer.from(String(n))) }, client.signal).then(
      ({ kind }) => kind,
      ({ code }) => code,
    );
  };

  it('are 64, and those that wait are bound by the same time', async () => {
    const held = gate();
    const judge = judgeBy(async ({ reference }) => {
      await held.pass();
      return reference.kind === 'tag' ? allow : { deny: true, reason: 'no tag' };
    });
    const all = Array.from({ length: 70 }, (_, n) => ask(judge, n));
    await held.reachedBy(64);
    await clock.advance(0);
    expect(asked).toHaveLength(64);
    await clock.advance(1_000);
    expect(new Set(await Promise.all(all))).toEqual(new Set(['admission-failed']));
    held.open();
    expect(await ask(judge, 71)).toBe('allow');
  });

  it('that never settled kept no others from being asked once their time was up', async () => {
    let isHung = true;
    const judge = judgeBy(() => (isHung ? new Promise<never>(() => undefined) : allow));
    const all = Array.from({ length: 64 }, (_, n) => ask(judge, n));
    await expect.poll(() => asked.length).toBe(64);
    await clock.advance(1_000);
    expect(new Set(await Promise.all(all))).toEqual(new Set(['admission-failed']));
    isHung = false;
    expect(await ask(judge, 64)).toBe('allow');
  });

  it('keep their places until they settle or are late, when all who asked have left', async () => {
    const judge = judgeBy(() => new Promise<never>(() => undefined));
    const clients = Array.from({ length: 64 }, () => new AbortController());
    const all = clients.map((client, n) => ask(judge, n, client));
    await expect.poll(() => asked.length).toBe(64);
    for (const client of clients) client.abort(new Error('left'));
    await Promise.all(all);
    void ask(judge, 64);
    await clock.advance(999);
    expect(asked).toHaveLength(64);
    await clock.advance(1);
    await expect.poll(() => asked.length).toBe(65);
  });
});

describe('places', () => {
  it('are taken in the order of coming, and left by whoever gives up', async () => {
    const places = createPlaces(1);
    const held = gate();
    const order: number[] = [];
    const first = places.run(() => held.pass(), signal);
    const leaving = new AbortController();
    const second = places.run(async () => void order.push(2), leaving.signal);
    const third = places.run(async () => void order.push(3), signal);
    leaving.abort(new Error('left'));
    await expect(second).rejects.toThrow('left');
    held.open();
    await Promise.all([first, third]);
    await places.run(async () => void order.push(4), signal);
    expect(order).toEqual([3, 4]);
  });
});
