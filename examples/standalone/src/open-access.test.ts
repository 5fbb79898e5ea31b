import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AccessRequest } from '@proxycache/core';
import { pino } from 'pino';
import { afterAll, describe, expect, test } from 'vitest';
import { parseConfig } from './load-config.ts';
import { openAccess } from './open-access.ts';

const folder = mkdtempSync(join(tmpdir(), 'proxycache-access-'));
afterAll(() => rmSync(folder, { recursive: true }));

// `htpasswd -nbB -C 4 alice wonderland`
const hash = '$2b$04$mlI7Lt8/njOnjIhqfGtz.uYpYsa/VVX/S8PBzmsjt6rnSXDKtnnKy';

function open(access: unknown, log: string[] = []) {
  const config = parseConfig({ access }, { PASSWORD: 'from the environment' });
  const logger = pino({ base: null }, { write: (line) => log.push(line) });
  return openAccess({ config, folder }, logger);
}

async function failure(access: unknown): Promise<string> {
  try {
    await open(access);
  } catch (error) {
    return (error as Error).message;
  }
  return 'none';
}

/** Who the configuration takes somebody for. */
async function login(access: unknown, user: string, password: string) {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const request: AccessRequest = {
    method: 'GET',
    url: '/v2/',
    basePath: '',
    headers: { get: () => authorization },
    signal: new AbortController().signal,
  };
  return (await open(access))?.authenticate?.(request);
}

test('a configuration without access asks nobody who he is', async () => {
  expect(parseConfig(null, {}).access).toBeUndefined();
  expect(await openAccess({ config: parseConfig(null, {}), folder }, pino({ level: 'silent' }))).toBeUndefined();
});

test('access lets nobody in without credentials, unless it says so; with nothing else it audits', async () => {
  const users = [{ name: 'alice', hash }];
  expect(await open({ basic: { users } })).toMatchObject({ anonymous: false });
  expect(await open({ anonymous: true, audit: false, basic: { users } })).toMatchObject({
    anonymous: true,
    audit: false,
  });
  expect(await open({ anonymous: true })).toEqual({ anonymous: true });
  expect(await failure({})).toContain('access: expected basic, or anonymous: true, as nobody could be let in');
});

describe('rules', () => {
  const rules = [
    { groups: ['web'], repositories: ['team/*'], allow: true },
    { repositories: ['library/*'], allow: true },
  ];
  const groups = [{ name: 'web', members: ['ann', '__proto__'] }];

  test('say who may pull what', async () => {
    const access = await open({ anonymous: true, within: '2s', groups, rules });
    const ask = (name: string | undefined, repository: string) =>
      access?.authorize?.({
        identity: name === undefined ? undefined : { name },
        action: 'pull',
        upstream: 'docker-hub',
        repository,
        request: {} as AccessRequest,
      });
    expect(access?.within).toBe(2000);
    expect([ask('ann', 'team/app'), ask('__proto__', 'team/app'), ask(undefined, 'library/alpine')]).toEqual([
      true,
      true,
      true,
    ]);
    expect(ask('bob', 'team/app')).toEqual({ allow: false, reason: 'bob may not pull team/app of docker-hub' });
    expect(ask(undefined, 'other/app')).toMatchObject({ allow: false });
  });

  test.each([
    [
      { anonymous: true, rules: [{ repositories: ['!a'], allow: true }] },
      'access.rules[0].repositories[0]: expected a pattern',
    ],
    [
      { anonymous: true, rules: [{ repositories: ['a'] }] },
      'access.rules[0].allow: expected true or false, received nothing',
    ],
    [
      { anonymous: true, rules: [{ repository: ['a'], allow: true }] },
      'access.rules[0].repository: unknown key; did you mean "repositories"?',
    ],
  ])('as in %j are refused by the path of the mistake', async (access, message) => {
    expect(await failure(access)).toContain(message);
  });
});

describe('users', () => {
  test('are those of a file beside the configuration, whose reading is logged', async () => {
    writeFileSync(join(folder, 'users'), `alice:${hash}\n`);
    const log: string[] = [];
    await open({ basic: { htpasswd: 'users' } }, log);
    expect(log.map((line) => JSON.parse(line))).toMatchObject([{ path: join(folder, 'users'), users: 1 }]);
    expect(await login({ basic: { htpasswd: 'users' } }, 'alice', 'wonderland')).toEqual({ name: 'alice' });
  });

  test('are those of the configuration, with passwords in it, from the environment, in files and as hashes', async () => {
    writeFileSync(join(folder, 'password'), 'in a file\n');
    const users = [
      { name: 'plain', password: 'in it' },
      { name: 'environment', password: `\${PASSWORD}` },
      { name: 'file', passwordFile: 'password' },
      { name: '__proto__', hash },
    ];
    for (const [user, password] of [
      ['plain', 'in it'],
      ['environment', 'from the environment'],
      ['file', 'in a file'],
      ['__proto__', 'wonderland'],
    ] as const) {
      expect(await login({ basic: { users } }, user, password)).toEqual({ name: user });
      await expect(login({ basic: { users } }, user, 'guess')).rejects.toMatchObject({ code: 'unauthenticated' });
    }
  });

  test.each([
    [{ basic: {} }, 'access.basic: expected either htpasswd or users'],
    [{ basic: { htpasswd: 'none' } }, `access.basic.htpasswd: ${join(folder, 'none')}: ENOENT`],
    [{ basic: { users: [] } }, 'access.basic.users: expected at least one'],
    [{ basic: { users: [{ name: 'a' }] } }, 'access.basic.users[0]: expected one of password, passwordFile and hash'],
    [{ basic: { users: [{ name: 'a:b', password: 'x' }] } }, 'access.basic.users: "a:b": expected a user name'],
    [{ basic: { users: [{ name: 'a', hash: '$apr1$x' }] } }, 'access.basic.users.a.hash: expected a bcrypt hash'],
    [{ basic: { users: [{ name: 'a', passwordFile: 'none' }] } }, 'access.basic.users[0].passwordFile: ENOENT'],
    [
      {
        basic: {
          users: [
            { name: 'a', password: 'x' },
            { name: 'a', password: 'y' },
          ],
        },
      },
      'access.basic.users[1].name: "a" is there already',
    ],
    [{ basic: { htpasswd: 'users', realm: 'Küche' } }, 'access.basic.realm: expected 1 to 256 printable ASCII'],
  ])('as in %j are refused by the path of the mistake', async (access, message) => {
    expect(await failure(access)).toContain(message);
  });
});
