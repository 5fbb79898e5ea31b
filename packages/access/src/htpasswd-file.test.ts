import { mkdirSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualClock } from '@proxycache/test-kit';
import { hashSync } from 'bcryptjs';
import { afterAll, describe, expect, test } from 'vitest';
import type { Accounts } from './accounts.ts';
import { htpasswdAccounts } from './htpasswd-file.ts';
import type { PasswordEvent } from './password-events.ts';

const folder = mkdtempSync(join(tmpdir(), 'htpasswd-'));
afterAll(() => rmSync(folder, { recursive: true }));

const [old, young] = [hashSync('old', 4), hashSync('young', 4)] as const;
let files = 0;

function toFolder(path: string): void {
  rmSync(path);
  mkdirSync(path);
}

function setUp(text: string) {
  const path = join(folder, `users-${files++}`);
  writeFileSync(path, text);
  const clock = manualClock();
  const events: PasswordEvent[] = [];
  const accounts = htpasswdAccounts(path, { clock, tell: (event) => events.push(event) });
  const hashOf = async (user: string) => {
    const secret = (await accounts()).find(user)?.secret;
    return secret?.kind === 'bcrypt' ? secret.hash.text : undefined;
  };
  return { path, clock, events, hashOf };
}

describe('an htpasswd file in use', () => {
  test('is read again a second after it was looked at, however it changed', async () => {
    const { path, clock, events, hashOf } = setUp(`alice:${old}\n`);
    expect(await hashOf('alice')).toBe(old);
    // Of the same length, and in the same instant for a coarse file system.
    writeFileSync(path, `alice:${young}\n`);
    await clock.advance(1_000);
    expect(await hashOf('alice')).toBe(young);
    writeFileSync(`${path}.new`, `bob:${old}\n`);
    renameSync(`${path}.new`, path);
    await clock.advance(1_000);
    expect(await hashOf('alice')).toBeUndefined();
    expect(await hashOf('bob')).toBe(old);
    expect(events).toEqual([1, 1, 1].map((users) => ({ type: 'htpasswd-read', path, users })));
  });

  test('is not read more often than once a second, and not told of while it stays as it is', async () => {
    const { path, clock, events, hashOf } = setUp(`alice:${old}\n`);
    await clock.advance(1_000);
    expect(await hashOf('alice')).toBe(old);
    writeFileSync(path, `alice:${young}\n`);
    await clock.advance(999);
    expect(await hashOf('alice')).toBe(old);
    expect(events).toHaveLength(1);
  });

  test.each<[string, (path: string) => void, RegExp]>([
    ['is gone', (path) => rmSync(path), /ENOENT/],
    ['is empty', (path) => truncateSync(path), /holds no user/],
    ['has a password in plain', (path) => writeFileSync(path, 'alice:secret\n'), /line 1: alice has no hash/],
    [
      'is cut off in its middle',
      (path) => writeFileSync(path, `bob:${young}\nalice:${old.slice(0, 30)}`),
      /line 2: .* cut off/,
    ],
    ['is a folder now', toFolder, /no regular file/],
    ['is far too large', (path) => truncateSync(path, 9 * 1024 * 1024), /more than 8388608/],
  ])(
    'that %s leaves the users of before, says so once, and is taken again when it is whole',
    async (_, spoil, error) => {
      const { path, clock, events, hashOf } = setUp(`alice:${old}\n`);
      spoil(path);
      for (const _ of [1, 2, 3]) {
        await clock.advance(1_000);
        expect(await hashOf('alice')).toBe(old);
        expect(await hashOf('bob')).toBeUndefined();
      }
      expect(events.slice(1)).toEqual([{ type: 'htpasswd-failed', path, error: expect.stringMatching(error) }]);
      rmSync(path, { recursive: true, force: true });
      writeFileSync(path, `alice:${old}\nbob:${young}\n`);
      await clock.advance(1_000);
      expect(await hashOf('bob')).toBe(young);
      expect(events.at(-1)).toEqual({ type: 'htpasswd-read', path, users: 2 });
    },
  );

  test('that is as before after a failure is told to be well again', async () => {
    const { path, clock, events, hashOf } = setUp(`alice:${old}\n`);
    rmSync(path);
    await clock.advance(1_000);
    await hashOf('alice');
    writeFileSync(path, `alice:${old}\n`);
    await clock.advance(1_000);
    await hashOf('alice');
    expect(events.map(({ type }) => type)).toEqual(['htpasswd-read', 'htpasswd-failed', 'htpasswd-read']);
  });
});

describe('an htpasswd file on a file system that hangs', () => {
  test('keeps one login waiting for a second, and the others not at all', async () => {
    const path = join(folder, 'hanging');
    writeFileSync(path, `alice:${old}\n`);
    const clock = manualClock();
    const events: PasswordEvent[] = [];
    let answer = (_: Buffer) => {};
    const read = () =>
      new Promise<Buffer>((resolve) => {
        answer = resolve;
      });
    const accounts = htpasswdAccounts(path, { clock, tell: (event) => events.push(event), read });
    const users = (now: Accounts) => ['alice', 'bob'].filter((user) => now.find(user));
    await clock.advance(1_000);
    const waiting = Promise.resolve(accounts());
    await clock.advance(1_000);
    expect(users(await waiting)).toEqual(['alice']);
    expect(users(await accounts())).toEqual(['alice']);
    expect(events.at(-1)).toMatchObject({
      type: 'htpasswd-failed',
      error: expect.stringContaining('longer than 1000 ms'),
    });
    answer(Buffer.from(`bob:${young}\n`));
    await clock.advance(0);
    expect(users(await accounts())).toEqual(['bob']);
    expect(events.at(-1)).toEqual({ type: 'htpasswd-read', path, users: 1 });
  });
});

describe('an htpasswd file that cannot be used to begin with', () => {
  const make = (path: string) => () => htpasswdAccounts(path, { clock: manualClock(), tell: () => {} });

  test('is refused with its path and what to do', () => {
    const path = join(folder, 'none');
    expect(make(path)).toThrow(`passwords: htpasswd: ${path}: ENOENT`);
    expect(make(path)).toThrow(`make it: htpasswd -cB ${path} USER`);
    writeFileSync(path, '');
    expect(make(path)).toThrow(`passwords: htpasswd: ${path}: it holds no user; add one: htpasswd -B ${path} USER`);
    expect(make(folder)).toThrow('it is no regular file');
    expect(make('')).toThrow('htpasswd: expected the path of a file');
    expect(make(7 as never)).toThrow('htpasswd: expected the path of a file');
  });
});
