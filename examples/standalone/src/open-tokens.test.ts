import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HttpRequest } from '@proxycache/core';
import { pino } from 'pino';
import { afterAll, describe, expect, test } from 'vitest';
import { parseConfig } from './load-config.ts';
import { openAccess } from './open-access.ts';

const folder = mkdtempSync(join(tmpdir(), 'proxycache-tokens-'));
afterAll(() => rmSync(folder, { recursive: true }));

const basic = { users: [{ name: 'alice', password: 'wonderland' }] };
const secret = 'a secret of servers, 32 bytes or more';
const publicUrl = 'https://cache.example';

async function open(access: object, top: object = { publicUrl }) {
  const config = parseConfig({ ...top, access }, {});
  const opened = await openAccess({ config, folder }, pino({ level: 'silent' }));
  return opened!;
}

const failure = (access: object, top?: object) => open(access, top).then(String, (error: Error) => error.message);

function requestOf(url: string, authorization?: string): HttpRequest {
  return {
    method: 'GET',
    url,
    basePath: '',
    headers: { get: (name) => (name === 'authorization' ? (authorization ?? null) : null) },
    signal: new AbortController().signal,
    body: async () => new Uint8Array(),
  };
}

const login = `Basic ${Buffer.from('alice:wonderland').toString('base64')}`;

/** What the token service answers. */
async function ask(
  access: Awaited<ReturnType<typeof open>>,
  url = '/token',
  authorization: string | undefined = login,
) {
  const response = await access.handle?.(requestOf(url, authorization));
  return { status: response?.status, body: JSON.parse(Buffer.from(response!.body as Uint8Array).toString()) };
}

const who = async (access: Awaited<ReturnType<typeof open>>, authorization?: string, url = '/v2/a/tags/list') =>
  access.authenticate?.(requestOf(url, authorization));

describe('access.tokens', () => {
  test('gives the users of access.basic tokens, and takes these and passwords', async () => {
    const access = await open({ basic, tokens: { secret } });
    const { body } = await ask(access, '/token?scope=repository:a:pull');
    expect(await who(access, `Bearer ${body.token}`)).toEqual({ name: 'alice', repositories: ['a'] });
    expect(await who(access, login)).toEqual({ name: 'alice' });
    await expect(who(access, 'Bearer x')).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(access.anonymous).toBe(false);
  });

  test('asks clients for tokens alone, also on /v2/', async () => {
    const access = await open({ basic, tokens: { secret } });
    expect(access.challenge?.({ scope: undefined, request: requestOf('/v2/') })).toBe(
      'Bearer realm="https://cache.example/token",service="cache.example"',
    );
    await expect(who(access, undefined, '/v2/')).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('gives nobody one without a password, but where anonymous is true', async () => {
    expect(await ask(await open({ basic, tokens: { secret } }), '/token', '')).toMatchObject({ status: 401 });
    const access = await open({ anonymous: true, basic, tokens: { secret } });
    const { status, body } = await ask(access, '/token', '');
    expect(status).toBe(200);
    expect(await who(access, `Bearer ${body.token}`)).toBeUndefined();
  });

  test('has a secret in a file, and those of before and after it', async () => {
    writeFileSync(join(folder, 'one'), `${secret}\n`);
    writeFileSync(join(folder, 'two'), `another secret, which is also long enough\r\n${secret}\r\n`);
    const [one, two] = [
      await open({ basic, tokens: { secretFile: 'one' } }),
      await open({ basic, tokens: { secretFile: 'two' } }),
    ];
    expect(await who(two, `Bearer ${(await ask(one)).body.token}`)).toMatchObject({ name: 'alice' });
    await expect(who(one, `Bearer ${(await ask(two)).body.token}`)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('has a private key, and publishes its public half, and those of others that it takes', async () => {
    const keyOf = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const pem = () => keyOf().export({ format: 'pem', type: 'pkcs8' }).toString();
    writeFileSync(join(folder, 'key.pem'), pem());
    const one = await open({ basic, tokens: { privateKey: 'key.pem' } });
    const { body: published } = await ask(one, '/token/jwks');
    writeFileSync(join(folder, 'jwks.json'), JSON.stringify(published));
    const two = await open({ basic, tokens: { privateKey: pem(), jwks: 'jwks.json', lifetime: '10m' } });
    const { body } = await ask(one);
    expect(await who(two, `Bearer ${body.token}`)).toMatchObject({ name: 'alice' });
    expect((await ask(two, '/token/jwks')).body.keys).toHaveLength(2);
    expect((await ask(two)).body.expires_in).toBe(600);
  });

  test('has its own publicUrl, service and issuer', async () => {
    const tokens = { secret, publicUrl: 'https://tokens.example', service: 'caches', issuer: 'us' };
    const access = await open({ basic, tokens });
    expect(access.challenge?.({ scope: undefined, request: requestOf('/v2/') })).toBe(
      'Bearer realm="https://tokens.example/token",service="caches"',
    );
    const claims = JSON.parse(Buffer.from((await ask(access)).body.token.split('.')[1], 'base64url').toString());
    expect(claims).toMatchObject({ iss: 'us', aud: 'caches' });
  });

  test.each<[object, string]>([
    [{ secret: 'hunter22' }, 'access.tokens.secret: expected a secret of at least 32 bytes'],
    [{}, 'access.tokens: expected one of secret, secretFile and privateKey'],
    [{ secret, privateKey: 'key.pem' }, 'access.tokens: expected one of secret, secretFile and privateKey'],
    [{ secretFile: 'none' }, 'access.tokens.secretFile: ENOENT'],
    [{ privateKey: 'none' }, 'access.tokens.privateKey: ENOENT'],
    [{ privateKey: '-----BEGIN hunter22' }, 'access.tokens.privateKey: expected a private key as PEM'],
    [{ secret, jwks: 'jwks.json' }, 'access.tokens.jwks: expected `privateKey` beside it'],
    [{ privateKey: 'key.pem', jwks: 'key.pem' }, 'access.tokens.jwks: expected JSON in key.pem'],
    [{ secret, lifetime: '2d' }, 'access.tokens.lifetime: expected a duration of 1000 ms'],
    [{ secret, service: 'a b' }, 'access.tokens.service: expected a name'],
    [{ secret, publicUrl: 'cache.example' }, 'access.tokens.publicUrl: expected an http(s) URL'],
  ])('that is %j is refused by the path of the mistake, and no secret is shown', async (tokens, message) => {
    const said = await failure({ basic, tokens });
    expect(said).toContain(message);
    expect(said).not.toContain('hunter22');
  });

  test('needs users, and to know where clients reach it', async () => {
    expect(await failure({ anonymous: true, tokens: { secret } })).toContain(
      'access.tokens: expected `basic` beside it',
    );
    expect(await failure({ basic, tokens: { secret } }, {})).toContain(
      'access.tokens.publicUrl: expected where clients',
    );
  });
});
