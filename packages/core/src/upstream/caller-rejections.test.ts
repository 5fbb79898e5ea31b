import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { createCallerOf } from './caller.ts';
import { createCallerRejections } from './caller-rejections.ts';

const callerOf = createCallerOf('up', 'a secret of thirty-two bytes or more');
const asker = (username: string, password: string) => {
  const caller = callerOf({ username, password });
  return { scope: caller.scope, caller };
};
const alice = asker('alice', 'right');

function make() {
  const clock = manualClock();
  const rejections = createCallerRejections({ key: 'up', clock });
  return {
    clock,
    reject: (who: ReturnType<typeof asker>) => rejections.rejected(who, 0, 'up.example'),
    accept: (who: ReturnType<typeof asker>) => rejections.accepted(who, 0),
    said(who: ReturnType<typeof asker>): string | undefined {
      try {
        rejections.check(who, 0);
        return undefined;
      } catch (error) {
        return (error as { code: string }).code;
      }
    },
    guess(times: number, user = 'alice') {
      for (let i = 0; i < times; i++) rejections.rejected(asker(user, `guess ${i}`), 0, 'up.example');
    },
  };
}

describe('a credential that was rejected', () => {
  it('is left alone for 5 s, then twice as long each time, 5 min at most, and not the same user’s others', async () => {
    const { clock, reject, said } = make();
    const wrong = asker('alice', 'wrong');
    for (const seconds of [5, 10, 20, 40, 80, 160, 300, 300]) {
      expect(reject(wrong)).toMatchObject({ code: 'unauthenticated' });
      expect(said(wrong)).toBe('unauthenticated');
      await clock.advance(seconds * 1_000 - 1);
      expect(said(wrong)).toBe('unauthenticated');
      await clock.advance(1);
      expect([said(wrong), said(alice)]).toEqual([undefined, undefined]);
    }
  });

  it('is asked again as soon as it was taken', () => {
    const { reject, accept, said } = make();
    reject(alice);
    accept(alice);
    expect(said(alice)).toBeUndefined();
  });

  it('that was taken before is refused once without having to wait: the upstream may mean what was asked for', () => {
    const { reject, accept, said } = make();
    accept(alice);
    expect(reject(alice)).toMatchObject({ code: 'unauthenticated' });
    expect(said(alice)).toBeUndefined();
    reject(alice);
    expect(said(alice)).toBe('unauthenticated');
  });

  it('has no secret in its error', () => {
    const error = make().reject(asker('alice', 'a-secret'));
    expect(JSON.stringify([error.message, error.stack, { ...error }])).not.toMatch(/a-secret|alice/);
  });
});

describe('a user whose password is guessed', () => {
  it('has all others wait after the fifth wrong one, for up to a minute, but not what was taken', async () => {
    const { clock, guess, accept, said } = make();
    accept(alice);
    guess(4);
    expect(said(asker('alice', 'another'))).toBeUndefined();
    guess(5);
    expect(said(asker('alice', 'another'))).toBe('rate-limited');
    expect([said(alice), said(asker('bob', 'another'))]).toEqual([undefined, undefined]);
    await clock.advance(60_000);
    expect(said(asker('alice', 'another'))).toBeUndefined();
  });

  it('is no user where many passwords are right: tokens come under one name', () => {
    const { guess, accept, said } = make();
    for (const token of ['one', 'two', 'three']) accept(asker('ci-token', token));
    guess(20, 'ci-token');
    expect(said(asker('ci-token', 'four'))).toBeUndefined();
  });
});

it('what is sent at random pushes nobody out who was taken, and memory has an end', () => {
  const { reject, accept, said, guess } = make();
  accept(alice);
  for (let i = 0; i < 20_000; i++) reject(asker(`user ${i}`, 'x'));
  guess(20);
  expect(said(alice)).toBeUndefined();
  expect(said(asker('alice', 'another'))).toBe('rate-limited');
  // The first of the many is forgotten.
  expect(said(asker('user 0', 'x'))).toBeUndefined();
  expect(said(asker('user 19999', 'x'))).toBe('unauthenticated');
});
