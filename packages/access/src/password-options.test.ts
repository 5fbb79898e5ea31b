import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualClock } from '@proxycache/test-kit';
import { hashSync } from 'bcryptjs';
import { afterAll, describe, expect, test } from 'vitest';
import type { PasswordEvent } from './password-events.ts';
import { type PasswordOptions, passwordVerifier } from './password-options.ts';

const { signal } = new AbortController();
const folder = mkdtempSync(join(tmpdir(), 'passwords-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('where passwords are checked', () => {
  test('in an htpasswd file, whose changes hold at once', async () => {
    const htpasswd = join(folder, 'users');
    writeFileSync(htpasswd, `alice:${hashSync('wonderland', 4)}\n`);
    const clock = manualClock();
    const events: PasswordEvent[] = [];
    const verify = passwordVerifier({ htpasswd, clock, observer: (event) => events.push(event) });
    expect(await verify({ user: 'alice', password: 'wonderland', signal })).toEqual({ name: 'alice' });
    expect(await verify({ user: 'alice', password: 'wonder\u200bland', signal })).toBeUndefined();
    writeFileSync(htpasswd, `alice:${hashSync('looking-glass', 4)}\n`);
    await clock.advance(1_000);
    expect(await verify({ user: 'alice', password: 'wonderland', signal })).toBeUndefined();
    expect(await verify({ user: 'alice', password: 'looking-glass', signal })).toEqual({ name: 'alice' });
    expect(events.filter(({ type }) => type === 'htpasswd-read')).toHaveLength(2);
  });

  test('by a function of the host, which is asked again when what it said is old', async () => {
    const clock = manualClock();
    const asked: string[] = [];
    const verify = passwordVerifier({
      verify({ user, password }) {
        asked.push(`${user}:${password}`);
        return password === 'right' ? { name: `ldap/${user}` } : undefined;
      },
      clock,
      cacheFor: '10s',
    });
    const ask = (password: string) => verify({ user: 'alice', password, signal });
    expect(await ask('right')).toEqual({ name: 'ldap/alice' });
    await clock.advance(9_999);
    expect(await ask('right')).toEqual({ name: 'ldap/alice' });
    await clock.advance(1);
    expect(await ask('right')).toEqual({ name: 'ldap/alice' });
    expect(await ask('wrong')).toBeUndefined();
    expect(await ask('wrong')).toBeUndefined();
    expect(asked).toEqual(['alice:right', 'alice:right', 'alice:wrong', 'alice:wrong']);
  });

  test('by a function of the host alone, where nothing is to be remembered', () => {
    const verify = () => undefined;
    expect(passwordVerifier({ verify, cacheFor: 0 })).toBe(verify);
  });

  test('what a function of the host throws comes through, and is not kept', async () => {
    let isAway = true;
    const verify = passwordVerifier({
      verify() {
        if (isAway) throw new Error('directory away');
        return { name: 'alice' };
      },
    });
    const ask = async () => verify({ user: 'alice', password: 'x', signal });
    await expect(ask()).rejects.toThrow('directory away');
    isAway = false;
    expect(await ask()).toEqual({ name: 'alice' });
  });

  test.each<[string, PasswordOptions, string]>([
    ['by an option that there is not', { htpaswd: 'users' } as never, 'passwords: htpaswd: there is no such option'],
    ['nowhere', {}, 'passwords: expected one of "htpasswd", "users" and "verify", received none'],
    ['in two places', { users: {}, verify: () => undefined }, 'received users and verify'],
    ['by what is no function', { verify: 'x' as never }, 'passwords: verify: expected a function, received string'],
    [
      'for a time that is none',
      { verify: () => undefined, cacheFor: 'x' as never },
      'passwords: cacheFor: expected a duration',
    ],
    [
      'by no threads',
      { users: { a: { password: 'x' } }, threads: 0 },
      'passwords: threads: expected 1 to 64, received 0',
    ],
  ])('%s is refused', (_, options, message) => {
    expect(() => passwordVerifier(options)).toThrow(message);
  });
});
