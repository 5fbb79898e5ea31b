import { manualClock } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type Account, createAccounts } from './accounts.ts';
import { createPasswordMemory } from './password-memory.ts';
import { verifyByAccounts } from './verify-by-accounts.ts';

const { signal } = new AbortController();
const account = (name: string, hash: string, rounds: number): [string, Account] => [
  name,
  { identity: { name }, secret: { kind: 'bcrypt', hash: { text: hash, rounds } } },
];

/** Where a password is right when it is the text of the hash. */
function setUp(...users: [string, Account][]) {
  const checked: number[] = [];
  let accounts = createAccounts(new Map(users));
  const memory = createPasswordMemory<boolean>({
    forMs: 60_000,
    clock: manualClock(),
    kindOf: (matches) => (matches ? 'success' : 'failure'),
    prolongs: true,
  });
  const verify = verifyByAccounts(() => accounts, {
    memory,
    async check(password, { text, rounds }) {
      checked.push(rounds);
      return password === text;
    },
  });
  const change = (...next: [string, Account][]) => {
    accounts = createAccounts(new Map(next));
  };
  return { verify: async (user: string, password: string) => verify({ user, password, signal }), checked, change };
}

describe('users with hashes', () => {
  test('who has the password is known, and is not checked again', async () => {
    const { verify, checked } = setUp(account('alice', 'wonderland', 16));
    expect(await verify('alice', 'wonderland')).toEqual({ name: 'alice' });
    expect(await verify('alice', 'wonderland')).toEqual({ name: 'alice' });
    expect(await verify('alice', 'guess')).toBeUndefined();
    expect(await verify('alice', 'guess')).toBeUndefined();
    expect(checked).toEqual([16, 16]);
  });

  test('an unknown user costs what some known one costs, always the same one', async () => {
    const users = [4, 8, 16, 32].map((rounds) => account(`user-${rounds}`, `${rounds}`, rounds));
    const { verify, checked } = setUp(...users);
    for (let at = 0; at < 200; at++) expect(await verify(`nobody-${at}`, 'guess')).toBeUndefined();
    expect(new Set(checked)).toEqual(new Set([4, 8, 16, 32]));
    checked.length = 0;
    for (let at = 0; at < 20; at++) await verify('nobody', `guess ${at}`);
    expect(new Set(checked).size).toBe(1);
  });

  test("an unknown user with the password of another is nobody, also once the other's hash was the stand-in", async () => {
    const { verify } = setUp(account('alice', 'wonderland', 16));
    expect(await verify('mallory', 'wonderland')).toBeUndefined();
    expect(await verify('mallory', 'wonderland')).toBeUndefined();
  });

  test('a changed hash and a removed user end what is remembered at once, and a new user is let in', async () => {
    const { verify, change } = setUp(account('alice', 'wonderland', 16), account('bob', 'builder', 16));
    await verify('alice', 'wonderland');
    await verify('bob', 'builder');
    expect(await verify('carol', 'singer')).toBeUndefined();
    change(account('alice', 'looking-glass', 16), account('carol', 'singer', 16));
    expect(await verify('alice', 'wonderland')).toBeUndefined();
    expect(await verify('alice', 'looking-glass')).toEqual({ name: 'alice' });
    expect(await verify('bob', 'builder')).toBeUndefined();
    expect(await verify('carol', 'singer')).toEqual({ name: 'carol' });
  });

  test('a password longer than bcrypt reads is refused unread, for unknown users too, and the client is told why', async () => {
    const { verify, checked } = setUp(account('alice', 'ä'.repeat(36), 16));
    const expected = { code: 'unauthenticated', message: expect.stringContaining('more than the 72 bytes') };
    expect(await verify('alice', 'ä'.repeat(36))).toEqual({ name: 'alice' });
    await expect(verify('alice', `${'ä'.repeat(36)}x`)).rejects.toMatchObject(expected);
    await expect(verify('mallory', 'x'.repeat(73))).rejects.toMatchObject(expected);
    expect(checked).toEqual([16]);
  });
});
