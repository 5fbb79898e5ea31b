import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { basic } from '@proxycache/access';
import { afterAll, describe, expect, test } from 'vitest';
import { startPair } from './cache-under-test.ts';
import { as } from './callers.ts';

const folder = mkdtempSync(join(tmpdir(), 'passwords-'));
afterAll(() => rmSync(folder, { recursive: true }));

// `htpasswd -nbB -C 4 alice wonderland`, `looking-glass`, and `-C 12 bob builder`, which takes a quarter of a second.
const wonderland = '$2b$04$oE/VJTDoM0oXnLlv47gPuOsiajKy4.zTzJJV0bOa5PTZVnaKy93Bq';
const lookingGlass = '$2b$04$acsvvy2OO6Zm1jQhA6b0deA8WxkvVfrJ1It1IHexPUl9HFkAMYEMC';
const slow = '$2b$12$HLYcBq6A3e1tmc1PAgPbx.EHrUTHMNdOgUGJIYFY0nNkpw9CP54Om';
const path = '/v2/up/team/app/manifests/1';
const challenge = 'Basic realm="proxycache", charset="UTF-8"';

async function start(users: string, options: Partial<Parameters<typeof basic>[0]> = {}) {
  const htpasswd = join(folder, `users-${Math.random()}`);
  const write = (text: string) => {
    writeFileSync(`${htpasswd}.new`, text);
    renameSync(`${htpasswd}.new`, htpasswd);
  };
  write(users);
  const { upstream, cache } = await startPair({
    cache: { access: { anonymous: false, ...basic({ htpasswd, ...options }) } },
  });
  upstream.addImage('team/app', { tag: '1' });
  const statusOf = async (user: string, password: string) => (await cache.get(path, as(user, password))).status;
  return { cache, write, statusOf };
}

describe('a cache with an htpasswd file', () => {
  test('serves who is in it, and tells others what is wrong, without their words', async () => {
    const { cache, statusOf } = await start(`alice:${wonderland}\n`);
    expect(await statusOf('alice', 'wonderland')).toBe(200);
    for (const [authorization, message] of [
      [as('alice', 'guess').headers.authorization, 'wrong user name or password'],
      [as('mallory', 'guess').headers.authorization, 'wrong user name or password'],
      ['Basic', 'the credentials are not in base64'],
      ['Basic ???', 'the credentials are not in base64'],
      ['Basic d29uZGVybGFuZA==', 'the credentials have no ":" between user and password'],
      [as('alice', 'won\0derland').headers.authorization, 'the credentials have control characters'],
      [
        as('alice', 'x'.repeat(73)).headers.authorization,
        'the password has more than the 72 bytes that bcrypt compares',
      ],
      [as('alice', 'x'.repeat(9_000)).headers.authorization, 'the credentials are longer than 8192 characters'],
      ['Bearer abc', 'expected a user name and password (Basic)'],
    ] as const) {
      const got = await cache.get(path, { headers: { authorization } });
      expect([got.status, got.errorCode, got.headers['www-authenticate']]).toEqual([401, 'UNAUTHORIZED', challenge]);
      expect(JSON.parse(got.body.toString()).errors[0].message).toBe(message);
    }
    // What podman and skopeo send that have no login.
    const got = await cache.get(path, as('', ''));
    expect([got.status, got.headers['www-authenticate']]).toEqual([401, challenge]);
    expect(JSON.parse(got.body.toString()).errors[0].message).toContain('no credentials came');
  });

  test('goes by what the file says now: a changed password ends the one that was remembered', async () => {
    const { statusOf, write } = await start(`alice:${wonderland}\n`);
    expect(await statusOf('alice', 'wonderland')).toBe(200);
    write(`alice:${lookingGlass}\n`);
    await expect.poll(() => statusOf('alice', 'wonderland'), { timeout: 15_000 }).toBe(401);
    expect(await statusOf('alice', 'looking-glass')).toBe(200);
    write('not a file of users\n');
    expect(await statusOf('alice', 'looking-glass')).toBe(200);
  });

  test('serves those it knows while a flood of wrong passwords is checked, most of which it refuses at once', async () => {
    const { cache, statusOf } = await start(`alice:${wonderland}\nbob:${slow}\n`, { threads: 1, queueFor: '200ms' });
    expect(await statusOf('alice', 'wonderland')).toBe(200);
    const answers = new Set<string>();
    let isOver = false;
    const flood = Array.from({ length: 6 }, async (_, sender) => {
      for (let at = 0; !isOver; at++) {
        const { status, errorCode } = await cache.get(path, as('bob', `guess ${sender}-${at}`));
        answers.add(`${status} ${errorCode}`);
      }
    });
    const refused = '503 UNAVAILABLE';
    await expect.poll(() => answers.has(refused), { timeout: 15_000 }).toBe(true);
    for (let at = 0; at < 20; at++) expect(await statusOf('alice', 'wonderland')).toBe(200);
    isOver = true;
    await Promise.all(flood);
    expect([...answers].sort()).toEqual(['401 UNAUTHORIZED', refused]);
    expect(await statusOf('bob', 'builder')).toBe(200);
  });
});
