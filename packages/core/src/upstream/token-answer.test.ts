import { describe, expect, it } from 'vitest';
import { isTokenServiceVoice, parseTokenAnswer } from './token-answer.ts';

const now = Date.UTC(2026, 0, 1);
const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const at = (offset: number) => new Date(now + offset * 1_000).toISOString();

describe('parseTokenAnswer', () => {
  it.each([
    ['token', { token: 'a', expires_in: 300 }, 300],
    ['access_token', { access_token: 'a', expires_in: 300 }, 300],
    ['token before access_token', { token: 'a', access_token: 'b', expires_in: 300 }, 300],
    ['access_token beside an empty token', { token: '', access_token: 'a', expires_in: 300 }, 300],
    ['no lifetime as 60 s', { token: 'a' }, 60],
    ['a lifetime that is none as 60 s', { token: 'a', expires_in: 'soon' }, 60],
    ['a lifetime below zero as 60 s', { token: 'a', expires_in: -1 }, 60],
    ['a lifetime in text', { token: 'a', expires_in: '300' }, 300],
    ['no issued_at from its receipt on', { token: 'a', expires_in: 300 }, 300],
    ['issued_at: what is left', { token: 'a', expires_in: 300, issued_at: at(-100) }, 200],
    [
      'issued_at of a clock ahead of ours from its receipt on',
      { token: 'a', expires_in: 300, issued_at: at(3_600) },
      300,
    ],
    [
      'issued_at of a clock far behind ours from its receipt on',
      { token: 'a', expires_in: 300, issued_at: at(-3_600) },
      300,
    ],
    ['issued_at that is no date from its receipt on', { token: 'a', expires_in: 300, issued_at: 'x' }, 300],
    ['a lifetime that is a list as 60 s', { token: 'a', expires_in: [300] }, 60],
  ])('takes %s', (_what, body, seconds) => {
    expect(parseTokenAnswer(bytes(body), now)).toEqual({ token: 'a', lifetime: seconds * 1_000 });
  });

  it.each(['expires_in', 'issued_at'])('overruns no stack where %s is nested without an end', (field) => {
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    expect(parseTokenAnswer(bytes(`{"token":"a","${field}":${deep}}`), now)).toEqual({ token: 'a', lifetime: 60_000 });
  });

  it.each([
    ['no JSON', 'token'],
    ['a list', []],
    ['no token', { expires_in: 300 }],
    ['a token that is no text', { token: 1 }],
    ['a line break in the token', { token: 'a\nb' }],
    ['a space in the token', { token: 'a b' }],
    ['other than ASCII in the token', { token: 'ä' }],
    ['a token that no header holds', { token: 'a'.repeat(32 * 1024 + 1) }],
  ])('refuses %s', (_what, body) => {
    expect(parseTokenAnswer(bytes(body), now)).toBeUndefined();
  });
});

describe('isTokenServiceVoice', () => {
  it('is any JSON object, because there is no standard one', () => {
    expect(isTokenServiceVoice(bytes({ details: 'incorrect username or password' }))).toBe(true);
    expect(isTokenServiceVoice(bytes({ errors: [{ code: 'DENIED' }] }))).toBe(true);
    for (const other of ['<html>', 'no', '', []]) expect(isTokenServiceVoice(bytes(other))).toBe(false);
    expect(isTokenServiceVoice(undefined)).toBe(false);
  });
});
