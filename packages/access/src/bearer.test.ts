import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { HttpRequest } from '@proxycache/core';
import { manualClock } from '@proxycache/test-kit';
import { type JWTPayload, SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { type BearerOptions, bearer } from './bearer.ts';
import { type JsonWebKeySet, readSecrets } from './token-keys.ts';
import { tokenService } from './token-service.ts';

const secret = 'a secret that others sign with, 32 bytes or more';
const pairs = {
  a: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  b: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
};
const publicJwk = (key: KeyObject, more: object = {}) => ({ ...key.export({ format: 'jwk' }), ...more });
const jwks: JsonWebKeySet = {
  keys: [
    publicJwk(pairs.a.publicKey, { kid: 'a', alg: 'RS256', use: 'sig' }),
    publicJwk(pairs.b.publicKey, { kid: 'b' }),
    publicJwk(pairs.b.publicKey, { kid: 'for-encryption', use: 'enc' }),
    { kty: 'unknown', kid: 'odd' },
  ],
};

const issuer = 'https://login.example';
const audience = 'cache.example';
const options = { issuer, audience };
const now = Date.UTC(2026, 0, 1) / 1000;

function sign(key: KeyObject | Uint8Array, header: { alg: string; kid?: string }, claims: JWTPayload = {}) {
  return new SignJWT({ iss: issuer, aud: audience, sub: 'alice', exp: now + 60, ...claims })
    .setProtectedHeader(header)
    .sign(key);
}

function requestOf(token: string | undefined, url = '/v2/hub/a/manifests/1'): HttpRequest {
  return {
    method: 'GET',
    url,
    basePath: '',
    headers: new Headers(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    signal: new AbortController().signal,
    body: async () => new Uint8Array(),
  };
}

function start(more: Partial<BearerOptions>) {
  const clock = manualClock();
  const hooks = bearer({ ...options, clock, ...more });
  return { ...hooks, clock, bring: async (token?: string, url?: string) => hooks.authenticate(requestOf(token, url)) };
}

const refused = { code: 'unauthenticated' };

describe('tokens of others', () => {
  test('are taken by their public keys, each for its own algorithm', async () => {
    const { bring } = start({ jwks });
    expect(await bring(await sign(pairs.a.privateKey, { alg: 'RS256', kid: 'a' }))).toEqual({ name: 'alice' });
    expect(await bring(await sign(pairs.b.privateKey, { alg: 'ES384', kid: 'b' }))).toEqual({ name: 'alice' });
    expect(await bring(await sign(pairs.b.privateKey, { alg: 'ES384' }))).toEqual({ name: 'alice' });
    for (const header of [
      { alg: 'PS256', kid: 'a' },
      { alg: 'RS256', kid: 'b' },
      { alg: 'RS256', kid: 'for-encryption' },
    ]) {
      await expect(bring(await sign(pairs.a.privateKey, header))).rejects.toMatchObject(refused);
    }
  });

  test('are taken by a shared secret, whatever they call it', async () => {
    const { bring } = start({ secret });
    expect(await bring(await sign(Buffer.from(secret), { alg: 'HS256', kid: 'theirs' }))).toEqual({ name: 'alice' });
    expect(await bring(await sign(Buffer.from(secret), { alg: 'HS256' }))).toEqual({ name: 'alice' });
    await expect(bring(await sign(Buffer.from(`${secret}!`), { alg: 'HS256' }))).rejects.toMatchObject(refused);
  });

  test('are taken by each of several shared secrets, whatever they call it', async () => {
    const [newer, older] = [`${secret}, the newer`, `${secret}, the older`];
    const { bring } = start({ secret: [newer, older] });
    for (const kid of [{}, { kid: 'theirs' }]) {
      const header = { alg: 'HS256', ...kid };
      for (const one of [newer, older]) {
        expect(await bring(await sign(Buffer.from(one), header))).toEqual({ name: 'alice' });
        const late = await sign(Buffer.from(one), header, { exp: now - 10 });
        await expect(bring(late)).rejects.toThrow('has expired');
      }
      await expect(bring(await sign(Buffer.from(secret), header))).rejects.toThrow('with a key that is gone');
      const other = await sign(Buffer.alloc(64, newer), { ...header, alg: 'HS512' });
      await expect(bring(other)).rejects.toThrow('with a key that is gone');
    }
  });

  test('that name one of several shared secrets are taken by that one alone', async () => {
    const [newer, older] = [`${secret}, the newer`, `${secret}, the older`];
    const { kid } = readSecrets('', older).signing;
    const { bring } = start({ secret: [newer, older] });
    expect(await bring(await sign(Buffer.from(older), { alg: 'HS256', kid }))).toEqual({ name: 'alice' });
    await expect(bring(await sign(Buffer.from(newer), { alg: 'HS256', kid }))).rejects.toMatchObject(refused);
  });

  test('of another token service of this kind are narrowed as there', async () => {
    const clock = manualClock();
    const verify = () => ({ name: 'alice', attributes: { team: 'blue' } });
    const service = tokenService({
      publicUrl: 'https://tokens.example',
      verify,
      keys: { privateKey: pairs.b.privateKey },
      clock,
    });
    const read = async (url: string) => {
      const authorization = `Basic ${Buffer.from('alice:secret').toString('base64')}`;
      const request = { ...requestOf(undefined, url), headers: new Headers({ authorization }) };
      return JSON.parse(Buffer.from((await service.handle(request))!.body as Uint8Array).toString());
    };
    const named = { issuer: 'tokens.example', audience: 'tokens.example' };
    const { bring } = start({ ...named, jwks: await read('/token/jwks') });
    const { token } = await read('/token?scope=repository:hub/a:pull');
    expect(await bring(token)).toEqual({ name: 'alice', repositories: ['hub/a'], attributes: { team: 'blue' } });
  });

  test('say who somebody is as the host reads them', async () => {
    const { bring } = start({
      secret,
      identify: ({ sub, groups }) => (sub === 'nobody' ? undefined : { name: `oidc/${sub}`, attributes: { groups } }),
    });
    const token = (claims: JWTPayload) => sign(Buffer.from(secret), { alg: 'HS256' }, claims);
    expect(await bring(await token({ groups: ['dev'] }))).toEqual({
      name: 'oidc/alice',
      attributes: { groups: ['dev'] },
    });
    expect(await bring(await token({ sub: 'nobody' }))).toBeUndefined();
  });

  test.each<[string, JWTPayload, string]>([
    ['for another audience', { aud: 'other.example' }, 'is for another service'],
    ['of another issuer', { iss: 'https://evil.example' }, 'was given by somebody else'],
    ['that have expired', { exp: now - 10 }, 'has expired'],
    ['that are not valid yet', { nbf: now + 11 }, 'is not valid yet'],
    ['that never expire', { exp: undefined } as unknown as JWTPayload, 'has no exp'],
  ])('%s are refused', async (_, claims, message) => {
    const token = await sign(Buffer.from(secret), { alg: 'HS256' }, claims);
    await expect(start({ secret }).bring(token)).rejects.toThrow(message);
  });

  test('are asked for by the realm that gives them, where there is one', async () => {
    const known = start({ jwks, realm: 'https://login.example/token' });
    const question = { scope: 'repository:hub/a:pull', request: requestOf(undefined) };
    expect(known.challenge(question)).toBe(
      'Bearer realm="https://login.example/token",service="cache.example",scope="repository:hub/a:pull"',
    );
    await expect(known.bring(undefined, '/v2/')).rejects.toMatchObject(refused);
    const unknown = start({ jwks });
    expect(unknown.challenge(question)).toBe('Bearer service="cache.example",scope="repository:hub/a:pull"');
    expect(await unknown.bring(undefined, '/v2/')).toBeUndefined();
  });
});

describe('keys that are published', () => {
  const url = 'https://login.example/keys';
  const token = sign(pairs.a.privateKey, { alg: 'RS256', kid: 'a' }, { exp: now + 100_000 });
  const answer = (value: unknown, status = 200) =>
    new Response(typeof value === 'string' ? value : JSON.stringify(value), { status });

  /** `answers` in turn, the last of them again and again. */
  function published(...answers: (() => Response | Promise<Response>)[]) {
    const asked: string[] = [];
    const get = async (input: unknown) => {
      asked.push(String(input));
      return (answers.length > 1 ? answers.shift()! : answers[0]!)();
    };
    return { ...start({ jwks: url, fetch: get as typeof fetch }), asked };
  }

  test('are read once for many tokens, and again when they are old', async () => {
    const { bring, asked, clock } = published(() => answer(jwks));
    expect(asked).toEqual([]);
    await Promise.all([bring(await token), bring(await token)]);
    await bring(await token);
    expect(asked).toEqual([url]);
    await clock.advance(600_000);
    expect(await bring(await token)).toEqual({ name: 'alice' });
    expect(asked).toHaveLength(2);
  });

  test('are read again for a key that is not among them, but not again and again', async () => {
    const { bring, asked, clock } = published(
      () => answer({ keys: [] }),
      () => answer(jwks),
    );
    for (let i = 0; i < 3; i++) await expect(bring(await token)).rejects.toMatchObject(refused);
    expect(asked).toHaveLength(1);
    await clock.advance(30_000);
    expect(await bring(await token)).toEqual({ name: 'alice' });
    expect(asked).toHaveLength(2);
  });

  test.each<[string, () => Response | Promise<Response>, string]>([
    ['nobody answers', () => Promise.reject(new Error('connection refused')), 'connection refused'],
    ['they are answered with a failure', () => answer('', 503), 'answered 503'],
    ['they are no JSON', () => answer('<html>'), 'JSON'],
    ['they are no key set', () => answer({ key: 1 }), 'gave no key set'],
    ['they never end', () => answer('x'.repeat(300_000)), 'more than 262144 bytes'],
  ])('fail no token where %s: that cannot be told now', async (_, response, message) => {
    const { bring, asked } = published(response);
    const error = await bring(await token).catch((caught) => caught);
    expect(error.message).toContain(`could not be read from login.example: `);
    expect(error.message).toContain(message);
    expect(error).not.toMatchObject(refused);
    await expect(bring(await token)).rejects.toThrow('could not be read');
    expect(asked).toHaveLength(1);
  });

  test('are not waited for without an end', async () => {
    const { bring, clock } = published(() => new Promise(() => undefined));
    const asked = expect(bring(await token)).rejects.toThrow('within 5000 ms');
    await clock.untilPending(1);
    await clock.advance(5000);
    await asked;
  });

  test('that are believed are not waited for as long as a hook has, where whoever publishes them hangs', async () => {
    const { bring, clock } = published(
      () => answer(jwks),
      () => new Promise(() => undefined),
    );
    await bring(await token);
    await clock.advance(600_000);
    const asked = bring(await token);
    await clock.untilPending(2);
    await clock.advance(1000);
    expect(await asked).toEqual({ name: 'alice' });
    await clock.advance(4000);
  });

  test('are kept for an hour while they cannot be read again', async () => {
    const { bring, clock } = published(
      () => answer(jwks),
      () => answer('', 503),
    );
    await bring(await token);
    await clock.advance(3_599_000);
    expect(await bring(await token)).toEqual({ name: 'alice' });
    expect(await bring(await token)).toEqual({ name: 'alice' });
    // A token that was right is remembered for a minute.
    await clock.advance(60_000);
    await expect(bring(await token)).rejects.toThrow('could not be read');
  });
});

test.each<[string, object, string]>([
  ['neither keys nor a secret', {}, 'expected either "jwks" or "secret"'],
  ['both', { jwks, secret }, 'expected either'],
  ['a short secret', { secret: 'hunter22' }, 'at least 32 bytes'],
  ['secret keys', { jwks: { keys: [pairs.b.privateKey.export({ format: 'jwk' })] } }, 'expected public keys alone'],
  ['no key that verifies', { jwks: { keys: [] } }, 'expected a key that verifies signatures'],
  ['no URL', { jwks: 'login.example' }, 'jwks: expected an http(s) URL'],
  ['no issuer', { secret, issuer: '' }, 'issuer: expected text'],
  ['no audience', { secret, audience: undefined }, 'audience: expected text'],
  ['a realm that ends its quotes', { secret, realm: 'https://a.example/"x' }, 'realm: expected'],
  ['a name that is none', { secret, issuers: [] }, 'issuers: there is no such option'],
])('%s: refused, and no secret is shown', (_, more, message) => {
  const make = () => start(more as Partial<BearerOptions>);
  expect(make).toThrow(expect.objectContaining({ code: 'invalid-options', message: expect.stringContaining(message) }));
  expect(make).not.toThrow(/hunter22/);
});
