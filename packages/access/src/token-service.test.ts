import { createHmac, createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { type HttpRequest, type Identity, ProxyCacheError } from '@proxycache/core';
import { manualClock } from '@proxycache/test-kit';
import { hashSync } from 'bcryptjs';
import { describe, expect, test } from 'vitest';
import { passwordVerifier } from './password-options.ts';
import type { PasswordVerifier } from './password-verifier.ts';
import type { TokenServiceOptions } from './token-options.ts';
import { tokenService } from './token-service.ts';

const secret = 'a secret that replicas share, 32 bytes or more';
const ecKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const pemOf = (key: typeof ecKey) => key.export({ format: 'pem', type: 'pkcs8' }).toString();

const users: Readonly<Record<string, Identity & { password: string }>> = {
  alice: { name: 'alice', password: 'wonder:land', attributes: { team: 'blue' } },
  ci: { name: 'ci', password: 'secret', repositories: ['hub/a'] },
};
const verifyUsers: PasswordVerifier = ({ user, password }) => {
  const { password: right, ...identity } = users[user] ?? { password: undefined, name: '' };
  return right === password ? identity : undefined;
};

function start(options: Partial<TokenServiceOptions> = {}) {
  const clock = manualClock();
  const service = tokenService({
    publicUrl: 'https://cache.example:8443',
    verify: verifyUsers,
    keys: { secret },
    clock,
    ...options,
  });
  return { ...service, clock };
}

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

function requestOf(
  url: string,
  {
    method = 'GET',
    authorization,
    form,
    type = 'application/x-www-form-urlencoded',
    basePath = '',
  }: Partial<{
    method: string;
    authorization: string;
    form: Record<string, string> | string;
    type: string;
    basePath: string;
  }> = {},
): HttpRequest {
  const headers = new Headers({ 'content-type': type, host: 'evil.example' });
  if (authorization !== undefined) headers.set('authorization', authorization);
  return {
    method,
    url,
    basePath,
    headers,
    signal: new AbortController().signal,
    async body(limit) {
      const bytes = Buffer.from(typeof form === 'string' ? form : new URLSearchParams(form).toString());
      if (bytes.length > limit) throw new ProxyCacheError('body-too-large', 'too large');
      return bytes;
    },
  };
}

async function ask(service: Pick<ReturnType<typeof start>, 'handle'>, ...request: Parameters<typeof requestOf>) {
  const response = await service.handle(requestOf(...request));
  if (!response) return { status: 0, headers: {}, body: {}, token: '' };
  const body = JSON.parse(Buffer.from(response.body as Uint8Array).toString());
  return { ...response, body, token: String(body.token) };
}

/** The token of a login that is right. */
const tokenFor = async (service: Pick<ReturnType<typeof start>, 'handle'>, query = '', user = 'alice') =>
  (await ask(service, `/token?${query}`, { authorization: basic(user, users[user]!.password) })).token;

const bring = async (
  service: Pick<ReturnType<typeof start>, 'authenticate'>,
  token: string,
  url = '/v2/hub/a/manifests/1',
) => service.authenticate(requestOf(url, { authorization: `Bearer ${token}` }));

const partsOf = (token: string) =>
  token.split('.', 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString())) as [
    Record<string, unknown>,
    Record<string, unknown>,
  ];

const scope = 'scope=repository%3Ahub%2Fa%3Apull';

describe('a token is given', () => {
  test('by GET with Basic credentials, as docker and podman ask, for what was asked', async () => {
    const service = start();
    const query = `account=alice&client_id=docker&offline_token=true&service=cache.example%3A8443&${scope}`;
    const { status, headers, body } = await ask(service, `/token?${query}`, {
      authorization: basic('alice', 'wonder:land'),
    });
    expect(status).toBe(200);
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'cache-control': 'no-store' });
    expect(body).toEqual({
      token: expect.any(String),
      access_token: body.token,
      token_type: 'Bearer',
      expires_in: 300,
      issued_at: '2026-01-01T00:00:00Z',
      scope: 'repository:hub/a:pull',
    });
    expect(await bring(service, body.token)).toEqual({
      name: 'alice',
      repositories: ['hub/a'],
      attributes: { team: 'blue' },
    });
  });

  test('by POST of a form, as containerd asks', async () => {
    const service = start();
    const form = {
      grant_type: 'password',
      client_id: 'containerd-client',
      service: 'cache.example:8443',
      scope: 'repository:hub/a:pull repository:hub/b:pull,push',
      username: 'alice',
      password: 'wonder:land',
    };
    const type = 'application/x-www-form-urlencoded; charset=utf-8';
    const { status, body } = await ask(service, '/token', { method: 'POST', form, type });
    expect([status, body.scope]).toEqual([200, 'repository:hub/a:pull repository:hub/b:pull']);
    expect(await bring(service, body.access_token)).toMatchObject({ name: 'alice', repositories: ['hub/a', 'hub/b'] });
  });

  test('with the claims of the token specification, each with an id of its own', async () => {
    const service = start();
    const [header, claims] = partsOf(await tokenFor(service, scope));
    expect(header).toEqual({ alg: 'HS256', typ: 'JWT', kid: expect.any(String) });
    const now = Date.UTC(2026, 0, 1) / 1000;
    expect(claims).toEqual({
      iss: 'cache.example:8443',
      sub: 'alice',
      aud: 'cache.example:8443',
      iat: now,
      nbf: now,
      exp: now + 300,
      jti: expect.stringMatching(/^[\w-]{36}$/),
      access: [{ type: 'repository', name: 'hub/a', actions: ['pull'] }],
      attributes: { team: 'blue' },
    });
    expect(partsOf(await tokenFor(service))[1]['jti']).not.toBe(claims['jti']);
  });

  test('that is good for no repository where none was asked for, as to log in', async () => {
    const service = start();
    expect(await bring(service, await tokenFor(service))).toMatchObject({ name: 'alice', repositories: [] });
  });

  test('for no more than the user may have', async () => {
    const service = start();
    const token = await tokenFor(service, 'scope=repository:hub/a:pull%20repository:hub/b:pull', 'ci');
    expect(await bring(service, token)).toEqual({ name: 'ci', repositories: ['hub/a'] });
  });

  test('for the list of repositories, which says nothing of pulls', async () => {
    const service = start();
    const token = await tokenFor(service, 'scope=registry:catalog:*');
    expect(await bring(service, token, '/v2/_catalog?n=10')).toEqual({ name: 'alice', attributes: { team: 'blue' } });
    expect(await bring(service, token)).toMatchObject({ repositories: [] });
    expect(await bring(service, await tokenFor(service, scope), '/v2/_catalog')).toMatchObject({
      repositories: ['hub/a'],
    });
  });

  test('of a shorter life than clients believe in, as the rest of a longer one', async () => {
    const { body } = await ask(start({ lifetime: '2s' }), '/token', { authorization: basic('ci', 'secret') });
    expect(body).toMatchObject({ expires_in: 60, issued_at: '2025-12-31T23:59:02Z' });
    const [, claims] = partsOf(body.token);
    expect(Number(claims['exp']) - Number(claims['iat'])).toBe(2);
  });

  test('to nobody in particular only where that is allowed, and then it says nobody', async () => {
    const { status, body } = await ask(start(), `/token?${scope}`);
    expect([status, body.errors]).toEqual([
      401,
      [{ code: 'UNAUTHORIZED', message: expect.stringContaining('log in') }],
    ]);
    const open = start({ anonymous: true });
    const { token } = await ask(open, `/token?${scope}`);
    expect(partsOf(token)[1]).toMatchObject({ sub: '', access: [{ name: 'hub/a' }] });
    expect(await bring(open, token)).toBeUndefined();
  });
});

describe('no token is given', () => {
  test.each([
    ['a wrong password', basic('alice', 'secret')],
    ['the password of somebody else', basic('ci', 'wonder:land')],
    ['an unknown user', basic('mallory', 'secret')],
  ])('for %s: 401 with words that clients show', async (_, authorization) => {
    for (const anonymous of [false, true]) {
      const { status, headers, body } = await ask(start({ anonymous }), '/token', { authorization });
      expect(status).toBe(401);
      expect(headers).toMatchObject({ 'www-authenticate': 'Basic realm="cache.example:8443", charset="UTF-8"' });
      expect(body).toMatchObject({
        errors: [{ code: 'UNAUTHORIZED', message: 'incorrect username or password' }],
        error: 'invalid_grant',
      });
    }
  });

  test('for a wrong password in a form', async () => {
    const form = { grant_type: 'password', username: 'alice', password: 'hunter22' };
    const { status, body } = await ask(start(), '/token', { method: 'POST', form });
    expect(status).toBe(401);
    expect(body).toMatchObject({ errors: [{ message: 'incorrect username or password' }], error: 'invalid_grant' });
    expect(JSON.stringify(body)).not.toContain('hunter22');
  });

  test.each([
    ['what is no Basic credentials', 'Basic !!!'],
    ['a token', 'Bearer abc'],
  ])('for %s, even where anybody is given one', async (_, authorization) => {
    expect((await ask(start({ anonymous: true }), '/token', { authorization })).status).toBe(401);
  });

  test.each([
    ['another service', '/token?service=other.example', {}, 400, 'invalid_target'],
    ['more than fits', `/token?scope=${'x'.repeat(5000)}`, {}, 400, 'invalid_scope'],
    ['a refresh token', '/token', { grant_type: 'refresh_token', refresh_token: 'abc' }, 401, 'invalid_grant'],
    ['another grant', '/token', { grant_type: 'client_credentials' }, 400, 'unsupported_grant_type'],
    ['no grant', '/token', {}, 400, 'unsupported_grant_type'],
    ['no password', '/token', { grant_type: 'password', username: 'alice' }, 400, 'invalid_request'],
    ['a NUL', '/token', { grant_type: 'password', username: 'alice\0', password: 'x' }, 400, 'invalid_request'],
    ['a form without an end', '/token', `grant_type=password&${'x'.repeat(20_000)}`, 413, 'too_large'],
  ])('for %s, and why is said', async (_, url, form, status, error) => {
    const method = url === '/token' ? 'POST' : 'GET';
    const answer = await ask(start({ anonymous: true }), url, { method, form });
    expect(answer).toMatchObject({ status, body: { error, errors: [{ message: expect.any(String) }] } });
  });

  test('for a form that is called something else', async () => {
    const answer = await ask(start(), '/token', { method: 'POST', form: {}, type: 'application/json' });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });

  test('by other methods', async () => {
    for (const method of ['HEAD', 'PUT', 'DELETE', 'OPTIONS']) {
      expect(await ask(start(), '/token', { method })).toMatchObject({ status: 405, headers: { allow: 'GET, POST' } });
    }
  });

  test('at other paths, which are the host’s', async () => {
    for (const url of ['/', '/tokens', '/token/', '/token/x', '/v2/', '/TOKEN']) {
      expect(await start().handle(requestOf(url))).toBeUndefined();
    }
    expect((await ask(start({ path: '/auth/token' }), '/auth/token')).status).toBe(401);
  });

  test('when it cannot be told who asks: that is no wrong password', async () => {
    const verify = () => Promise.reject(new Error('the directory is away'));
    const service = start({ verify });
    await expect(tokenFor(service)).rejects.toThrow('the directory is away');
  });

  test('for a password that the verifier refuses in words of its own: those are told, with 401', async () => {
    const verify = passwordVerifier({ users: { alice: { hash: hashSync('wonderland', 4) } } });
    const authorization = basic('alice', 'x'.repeat(73));
    expect(await ask(start({ verify }), '/token', { authorization })).toMatchObject({
      status: 401,
      body: { error: 'invalid_grant', errors: [{ message: expect.stringContaining('72 bytes') }] },
    });
  });

  test('and no password of a form is in what a verifier failed with', async () => {
    const form = { grant_type: 'password', username: 'alice', password: 'hunter22' };
    const failed = `bind of alice with hunter22 failed (${Buffer.from('alice:hunter22').toString('base64')})`;
    for (const error of [new Error(failed), new ProxyCacheError('too-many-requests', failed)]) {
      const service = start({ verify: () => Promise.reject(error) });
      const shown = 'bind of alice with [redacted] failed ([redacted])';
      await expect(ask(service, '/token', { method: 'POST', form })).rejects.toThrow(shown);
    }
  });

  test('to an identity whose repositories are no list, of which any part would be in it', async () => {
    const verify = () => ({ name: 'alice', repositories: 'hub/a' }) as unknown as Identity;
    await expect(tokenFor(start({ verify }), scope)).rejects.toThrow('to be a list of names');
  });

  test('when that is told too late, and nobody waits on', async () => {
    let signal: AbortSignal | undefined;
    const verify: PasswordVerifier = (attempt) => {
      signal = attempt.signal;
      return new Promise(() => undefined);
    };
    const service = start({ verify, within: '3s' });
    const asked = expect(tokenFor(service)).rejects.toThrow('could not be told within 3000 ms');
    await service.clock.untilPending(1);
    await service.clock.advance(3000);
    await asked;
    expect(signal?.aborted).toBe(true);
    expect(service.clock.pending()).toBe(0);
  });

  test('that would be longer than what is looked at, when it is brought', async () => {
    const attributes = { groups: 'x'.repeat(2000) };
    const service = start({ verify: () => ({ name: 'alice', attributes }) });
    const askFor = (count: number) => {
      const scopes = Array.from({ length: count }, (_, i) => `repository:${'n'.repeat(100)}${i}:pull`);
      const authorization = basic('alice', 'secret');
      return ask(service, `/token?${new URLSearchParams({ scope: scopes.join(' ') })}`, { authorization });
    };
    const fits = await askFor(20);
    expect(fits.status).toBe(200);
    expect(await bring(service, fits.token)).toMatchObject({ name: 'alice', attributes });
    expect(await askFor(31)).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
  });

  test('with attributes that no header could carry', async () => {
    const service = start({ verify: () => ({ name: 'alice', attributes: { groups: 'x'.repeat(3000) } }) });
    await expect(tokenFor(service)).rejects.toThrow('attributes of alice are longer than 2048');
  });
});

describe('a token that is brought', () => {
  test('is good until its end, and for the leeway of clocks', async () => {
    const service = start({ lifetime: '1m', leeway: '10s' });
    const token = await tokenFor(service);
    await service.clock.advance(69_000);
    expect(await bring(service, token)).toMatchObject({ name: 'alice' });
    await service.clock.advance(1000);
    await expect(bring(service, token)).rejects.toMatchObject({
      code: 'unauthenticated',
      message: 'the token has expired; ask for a new one',
    });
  });

  test('is not good before its time, but for the leeway of clocks', async () => {
    const service = start();
    const token = await tokenFor(service);
    const now = service.clock.now();
    service.clock.set(now - 10_000);
    expect(await bring(service, token)).toMatchObject({ name: 'alice' });
    service.clock.set(now - 11_000);
    await expect(bring(service, token)).rejects.toThrow('not valid yet');
  });

  test('is taken by every replica with the same keys, and by no other', async () => {
    const token = await tokenFor(start());
    expect(await bring(start(), token)).toMatchObject({ name: 'alice' });
    const other = start({ keys: { secret: 'another secret that is also long enough' } });
    await expect(bring(other, token)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('is taken while keys rotate: the first of them signs, all verify', async () => {
    const next = 'the next secret that replicas will share';
    const [old, both, after] = [[secret], [next, secret], [next]].map((list) => start({ keys: { secret: list } }));
    const [oldToken, newToken] = [await tokenFor(old!), await tokenFor(both!)];
    expect(await bring(both!, oldToken)).toMatchObject({ name: 'alice' });
    expect(await bring(after!, newToken)).toMatchObject({ name: 'alice' });
    await expect(bring(after!, oldToken)).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(bring(old!, newToken)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test.each<[string, Partial<TokenServiceOptions>, string]>([
    ['of another service', { service: 'other.example', issuer: 'cache.example:8443' }, 'is for another service'],
    ['of another issuer', { issuer: 'other.example' }, 'was given by somebody else'],
  ])('%s is refused, with the same keys too', async (_, options, message) => {
    const token = await tokenFor(start(options));
    await expect(bring(start(), token)).rejects.toThrow(message);
  });

  /** A token of ours, changed and signed again with our own secret. */
  async function resigned(change: (header: Record<string, unknown>, claims: Record<string, unknown>) => void) {
    const [header, claims] = partsOf(await tokenFor(start(), scope));
    change(header, claims);
    const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  }

  test('can be made by hand, so that these tests show what they are to show', async () => {
    expect(await bring(start(), await resigned(() => undefined))).toMatchObject({ name: 'alice' });
  });

  test.each<[string, Parameters<typeof resigned>[0]]>([
    ['no end', (_, claims) => delete claims['exp']],
    ['no beginning', (_, claims) => delete claims['nbf']],
    ['no instant', (_, claims) => delete claims['iat']],
    ['nobody', (_, claims) => delete claims['sub']],
    ['no id', (_, claims) => delete claims['jti']],
    ['no audience', (_, claims) => delete claims['aud']],
    ['no issuer', (_, claims) => delete claims['iss']],
    ['no access, so that nothing would narrow it', (_, claims) => delete claims['access']],
    ['an end that is no number', (_, claims) => Object.assign(claims, { exp: '9999999999' })],
    ['a subject that is no text', (_, claims) => Object.assign(claims, { sub: 7 })],
    ['no key', (header) => delete header['kid'] && Object.assign(header, { kid: 'other' })],
    ['a key that is no text', (header) => Object.assign(header, { kid: ['a'] })],
    ['alg none', (header) => Object.assign(header, { alg: 'none' })],
    ['alg HS512', (header) => Object.assign(header, { alg: 'HS512' })],
    ['alg RS256', (header) => Object.assign(header, { alg: 'RS256' })],
    ['no alg', (header) => delete header['alg']],
    ['a critical extension', (header) => Object.assign(header, { crit: ['x'], x: 1 })],
    ['a key of its own', (header) => Object.assign(header, { kid: 'mine', jwk: { kty: 'oct', k: 'AA' } })],
  ])('with %s is refused', async (_, change) => {
    await expect(bring(start(), await resigned(change))).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test.each([
    ['nothing', ''],
    ['garbage', 'garbage'],
    ['dots', '..'],
    ['two parts', 'e30.e30'],
    ['five parts', 'e30.e30.e30.e30.e30'],
    ['what is no JSON', 'abc.abc.abc'],
    ['no signature', 'eyJhbGciOiJub25lIn0.e30.'],
    ['more than a header', `${'a'.repeat(9000)}.e30.e30`],
  ])('that is %s is refused, and not repeated', async (_, token) => {
    const error = await bring(start(), token).catch((caught) => caught);
    expect(error).toMatchObject({ code: 'unauthenticated', message: expect.stringMatching(/^the token /) });
    if (token.length > 2) expect(error.message).not.toContain(token.slice(0, 20));
  });

  test('whose claims were changed is refused', async () => {
    const [header, , signature] = (await tokenFor(start())).split('.');
    const claims = Buffer.from(JSON.stringify({ sub: 'root' })).toString('base64url');
    await expect(bring(start(), `${header}.${claims}.${signature}`)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('is read whatever the case of its scheme; and credentials of another are refused', async () => {
    const service = start();
    const token = await tokenFor(service);
    const authenticate = (authorization?: string, url = '/v2/a/tags/list') =>
      service.authenticate(requestOf(url, authorization === undefined ? {} : { authorization }));
    expect(await authenticate(`bearer  ${token}`)).toMatchObject({ name: 'alice' });
    await expect(authenticate(basic('alice', 'x'))).rejects.toThrow('expected a Bearer token');
    expect(await authenticate()).toBeUndefined();
    await expect(authenticate('Bearer')).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('is asked for on /v2/, from which docker and podman learn that there are any', async () => {
    const service = start({ anonymous: true });
    for (const url of ['/v2/', '/v2', '/v2/?ns=docker.io']) {
      await expect(service.authenticate(requestOf(url))).rejects.toMatchObject({ code: 'unauthenticated' });
    }
    const { token } = await ask(service, '/token');
    expect(await bring(service, token, '/v2/')).toBeUndefined();
  });
});

describe('with a private key', () => {
  const keys = { privateKey: pemOf(ecKey) };

  test('tokens are verified by what is published, which has no secret in it', async () => {
    const service = start({ keys });
    const token = await tokenFor(service);
    expect(await bring(start({ keys }), token)).toMatchObject({ name: 'alice' });
    const { status, headers, body } = await ask(service, '/token/jwks');
    expect([status, (headers as Record<string, string>)['cache-control']]).toEqual([200, 'public, max-age=300']);
    const [header] = partsOf(token);
    expect(body.keys).toEqual([
      {
        kty: 'EC',
        crv: 'P-256',
        x: expect.any(String),
        y: expect.any(String),
        kid: header['kid'],
        alg: 'ES256',
        use: 'sig',
      },
    ]);
    const [signed, signature = ''] = [token.slice(0, token.lastIndexOf('.')), token.split('.')[2]];
    const key = createPublicKey({ key: body.keys[0], format: 'jwk' });
    const raw = Buffer.from(signature, 'base64url');
    expect(verify('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }, raw)).toBe(true);
  });

  test('a shared secret is not published', async () => {
    expect(await start().handle(requestOf('/token/jwks'))).toBeUndefined();
  });

  test('the path of what is published is the service’s own, too', () => {
    const owned = (options: Partial<TokenServiceOptions>) =>
      ['/token', '/token?scope=a', '/token/jwks', '/token/other', '/tokens', '/'].filter((url) =>
        start(options).handle.owns?.(url),
      );
    expect(owned({ keys })).toEqual(['/token', '/token?scope=a', '/token/jwks']);
    expect(owned({})).toEqual(['/token', '/token?scope=a']);
  });

  test('what is signed with the public key as a secret is refused', async () => {
    const service = start({ keys });
    const [header, claims] = partsOf(await tokenFor(service, scope));
    const { body } = await ask(service, '/token/jwks');
    const publicKey = createPublicKey({ key: body.keys[0], format: 'jwk' });
    for (const secret of [publicKey.export({ format: 'pem', type: 'spki' }), JSON.stringify(body.keys[0])]) {
      for (const kid of [header['kid'], undefined]) {
        const parts = [{ ...header, alg: 'HS256', kid }, claims];
        const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
        const forged = `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
        await expect(bring(service, forged)).rejects.toMatchObject({ code: 'unauthenticated' });
      }
    }
  });

  test('keys rotate by those published beside it', async () => {
    const next = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    const published = async (key: typeof next) =>
      (await ask(start({ keys: { privateKey: key } }), '/token/jwks')).body as { keys: { kid: string }[] };
    const before = start({ keys: { ...keys, jwks: await published(next) } });
    const after = start({ keys: { privateKey: next, jwks: await published(ecKey) } });
    expect(await bring(before, await tokenFor(after))).toMatchObject({ name: 'alice' });
    expect(await bring(after, await tokenFor(before))).toMatchObject({ name: 'alice' });
    expect((await ask(after, '/token/jwks')).body.keys.map((key: { alg: string }) => key.alg)).toEqual([
      'RS256',
      'ES256',
    ]);
    await expect(bring(start({ keys }), await tokenFor(after))).rejects.toMatchObject({ code: 'unauthenticated' });
  });
});

describe('the challenge', () => {
  const asked = { scope: 'repository:hub/a:pull' };

  test('names realm and service by publicUrl and the mount point, whatever the client calls us', () => {
    const request = requestOf('/v2/hub/a/manifests/1', { basePath: '/registry' });
    expect(start().challenge({ ...asked, request })).toBe(
      'Bearer realm="https://cache.example:8443/registry/token",service="cache.example:8443",scope="repository:hub/a:pull"',
    );
  });

  test('names no scope on /v2/, and no error where nothing was brought', () => {
    const question = { scope: undefined, error: 'invalid_token' as const, request: requestOf('/v2/') };
    expect(start({ service: 'name', path: '/auth' }).challenge(question)).toBe(
      'Bearer realm="https://cache.example:8443/auth",service="name"',
    );
  });

  test.each(['invalid_token', 'insufficient_scope'] as const)('says %s of what was brought', (error) => {
    const request = requestOf('/v2/', { authorization: 'Bearer x' });
    expect(start().challenge({ ...asked, error, request })).toMatch(new RegExp(`,error="${error}"$`));
  });

  test('says insufficient_scope of a token of nobody, which containerd would bring again and again', () => {
    const request = requestOf('/v2/', { authorization: 'Bearer x' });
    expect(start().challenge({ ...asked, request })).toMatch(/,error="insufficient_scope"$/);
    const other = requestOf('/v2/', { authorization: basic('alice', 'x') });
    expect(start().challenge({ ...asked, request: other })).not.toContain('error');
  });
});

describe('options that are wrong are refused, and no secret is shown', () => {
  test.each<[string, object, string]>([
    ['publicUrl', { publicUrl: 'cache.example' }, 'publicUrl: expected an http(s) URL'],
    ['a path in publicUrl', { publicUrl: 'https://cache.example/x' }, 'publicUrl: expected'],
    ['a user in publicUrl', { publicUrl: 'https://u:hunter22@cache.example' }, 'publicUrl: expected'],
    ['verify', { verify: undefined }, 'verify: expected a function'],
    ['service', { service: 'a"b' }, 'service: expected a name'],
    ['issuer', { issuer: '' }, 'issuer: expected a name'],
    ['path', { path: '/v2/token' }, 'path: expected a path such as "/token"'],
    ['anonymous', { anonymous: 'yes' }, 'anonymous: expected true or false'],
    ['lifetime', { lifetime: '2d' }, 'lifetime: expected a duration of 1000 ms'],
    ['leeway', { leeway: '5m' }, 'leeway: expected a duration of 0 ms'],
    ['a name that is none', { lifeTime: '5m' }, 'lifeTime: there is no such option'],
    ['a short secret', { keys: { secret: 'hunter22' } }, 'keys.secret: expected a secret of at least 32 bytes'],
    ['no secret', { keys: { secret: [] } }, 'keys.secret: expected a secret'],
    ['no keys', { keys: undefined }, 'keys: expected either "secret" or "privateKey"'],
    ['both', { keys: { secret, privateKey: 'hunter22' } }, 'keys: expected either'],
    ['a key that is none', { keys: { privateKey: 'hunter22' } }, 'keys.privateKey: expected a private key as PEM'],
    [
      'a small RSA key',
      { keys: { privateKey: generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey } },
      'keys.privateKey: expected an EC key',
    ],
    ['another kind of key', { keys: { privateKey: generateKeyPairSync('ed25519').privateKey } }, 'expected an EC key'],
    [
      'a secret in jwks',
      { keys: { privateKey: ecKey, jwks: { keys: [{ kty: 'oct', k: 'hunter22' }] } } },
      'public keys alone',
    ],
    ['jwks that is none', { keys: { privateKey: ecKey, jwks: [] } }, 'keys.jwks: expected a key set'],
  ])('%s', (_, options, message) => {
    const make = () => start(options as Partial<TokenServiceOptions>);
    expect(make).toThrow(
      expect.objectContaining({ code: 'invalid-options', message: expect.stringContaining(message) }),
    );
    expect(make).not.toThrow(/hunter22/);
  });
});
