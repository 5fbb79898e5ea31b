import { describe, expect, test } from 'vitest';
import { passwordVerifier } from './password-options.ts';

const { signal } = new AbortController();

describe('users given by the host', () => {
  const verify = passwordVerifier({
    users: {
      alice: { password: 'wonderland', attributes: { team: 'blue' } },
      ci: { password: 'pässword', repositories: ['docker-hub/library/alpine'] },
    },
  });

  test('who has the password is who was given, with what was given', async () => {
    expect(await verify({ user: 'alice', password: 'wonderland', signal })).toEqual({
      name: 'alice',
      attributes: { team: 'blue' },
    });
    expect(await verify({ user: 'ci', password: 'pässword', signal })).toEqual({
      name: 'ci',
      repositories: ['docker-hub/library/alpine'],
    });
  });

  test.each([
    ['alice', 'wonderlan'],
    ['alice', 'wonderlande'],
    ['alice', 'pässword'],
    ['Alice', 'wonderland'],
    ['mallory', 'wonderland'],
    ['__proto__', 'wonderland'],
    ['toString', 'wonderland'],
  ])('%s with %s is nobody', async (user, password) => {
    expect(await verify({ user, password, signal })).toBeUndefined();
  });

  test.each([
    ['no users', {}, 'users: expected at least one'],
    ['a name with a colon', { 'a:b': { password: 'secret' } }, 'users: "a:b": expected a name without ":"'],
    ['an empty name', { '': { password: 'secret' } }, 'users: "": expected a name'],
    ['an empty password', { alice: { password: '' } }, 'users.alice.password: expected text that is not empty'],
    ['a password with a NUL', { alice: { password: 'sec\0ret' } }, 'without control characters'],
  ])('%s are refused, without showing a password', (_, users, message) => {
    expect(() => passwordVerifier({ users })).toThrow(message);
    expect(() => passwordVerifier({ users })).not.toThrow(/sec/);
  });
});

describe('where passwords are checked', () => {
  test('a function of the host is asked as it is', async () => {
    const verify = passwordVerifier({ verify: ({ user }) => ({ name: `ldap/${user}` }) });
    expect(await verify({ user: 'alice', password: 'x', signal })).toEqual({ name: 'ldap/alice' });
  });

  test('it is said once', () => {
    const users = { alice: { password: 'wonderland' } };
    expect(() => passwordVerifier({})).toThrow('expected one of "verify" and "users", received none');
    expect(() => passwordVerifier({ users, verify: () => undefined })).toThrow('received verify and users');
  });
});
