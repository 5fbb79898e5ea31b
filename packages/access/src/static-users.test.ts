import { hashSync } from 'bcryptjs';
import { describe, expect, test } from 'vitest';
import { passwordVerifier } from './password-options.ts';

const { signal } = new AbortController();

describe('users given by the host', () => {
  const verify = passwordVerifier({
    users: {
      alice: { password: 'wonderland', attributes: { team: 'blue' } },
      ci: { password: 'pässword', repositories: ['docker-hub/library/alpine'] },
      bob: { hash: hashSync('builder', 4) },
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
    expect(await verify({ user: 'bob', password: 'builder', signal })).toEqual({ name: 'bob' });
  });

  test.each([
    ['alice', 'wonderlan'],
    ['alice', 'wonderlande'],
    ['alice', 'pässword'],
    ['Alice', 'wonderland'],
    ['mallory', 'wonderland'],
    ['bob', 'wonderland'],
    ['__proto__', 'wonderland'],
    ['toString', 'wonderland'],
  ])('%s with %s is nobody', async (user, password) => {
    expect(await verify({ user, password, signal })).toBeUndefined();
  });

  test.each([
    ['no users', {}, 'users: expected at least one'],
    ['a name with a colon', { 'a:b': { password: 'secret' } }, 'users: "a:b": expected a user name'],
    ['an empty name', { '': { password: 'secret' } }, 'users: "": expected a user name'],
    ['neither password nor hash', { alice: {} }, 'users.alice: expected either "password" or "hash", received none'],
    ['both', { alice: { password: 'secret', hash: 'secret' } }, 'received both'],
    [
      'a hash of MD5',
      { alice: { hash: '$apr1$secret' } },
      'users.alice.hash: expected a bcrypt hash, received an MD5 hash',
    ],
    [
      'what would narrow a user, misspelt',
      { alice: { password: 'secret', repository: ['a'] } },
      'users.alice: repository: there is no such option',
    ],
    [
      'repositories that are no list',
      { alice: { password: 'secret', repositories: 'a' } },
      'users.alice.repositories: expected a list of names',
    ],
    ['an empty password', { alice: { password: '' } }, 'users.alice.password: expected text that is not empty'],
    ['a password with a NUL', { alice: { password: 'sec\0ret' } }, 'without control characters'],
  ])('%s is refused, without showing a password', (_, users, message) => {
    const options = { users } as unknown as Parameters<typeof passwordVerifier>[0];
    expect(() => passwordVerifier(options)).toThrow(message);
    expect(() => passwordVerifier(options)).not.toThrow(/sec/);
  });
});
