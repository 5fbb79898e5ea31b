import { type PasswordVerifier, type TokenServiceOptions, tokenService } from '@proxycache/access';
import type { AccessOptions } from '@proxycache/core';
import { gate } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startPair } from './cache-under-test.ts';

const publicUrl = 'https://cache.example';
const secret = 'a secret that replicas share, 32 bytes or more';
const passwords: Readonly<Record<string, string>> = { ann: 'pa55-of-ann', bob: 'pa55-of-bob' };
const verify: PasswordVerifier = ({ user, password }) => (passwords[user] === password ? { name: user } : undefined);

const basic = (user: string, password = `pa55-of-${user}`) => ({
  headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` },
});
const bearing = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const scopeOf = (name: string) => `repository:${name}:pull`;

/** A cache with two images behind a token service that keeps to its clock. */
async function startGuarded(
  { tokens = {}, ...access }: AccessOptions & { tokens?: Partial<TokenServiceOptions> } = {},
  options: Parameters<typeof startPair>[0] = {},
) {
  let cache: CacheUnderTest | undefined;
  // The clock of the cache is there once it has started; until then nobody asks for the time.
  const clock = {
    now: () => cache?.clock.now() ?? 0,
    monotonic: () => cache?.clock.monotonic() ?? 0,
    after: (ms: number, fn: () => void) => cache?.clock.after(ms, fn) ?? (() => undefined),
  };
  const service = tokenService({ publicUrl, verify, keys: { secret }, clock, ...tokens });
  const pair = await startPair({
    ...options,
    cache: { catalog: true, ...options.cache, access: { ...service, ...access } },
  });
  cache = pair.cache;
  pair.upstream.addImage('team/app', { tag: '1' });
  pair.upstream.addImage('team/other', { tag: '1' });
  const tokenOf = async (user: string, ...scopes: string[]): Promise<string> => {
    const query = new URLSearchParams(scopes.map((scope): [string, string] => ['scope', scope]));
    const got = await pair.cache.get(`/token?${query}`, basic(user));
    return JSON.parse(got.body.toString()).token;
  };
  return { ...pair, tokenOf };
}

const app = '/v2/up/team/app/manifests/1';
const other = '/v2/up/team/other/manifests/1';

describe('a token', () => {
  test('lets its bearer pull what it is for, and 401 says what another would have to be for', async () => {
    const { cache, tokenOf } = await startGuarded();
    const token = await tokenOf('ann', scopeOf('up/team/app'));
    expect((await cache.get(app, bearing(token))).status).toBe(200);
    const refused = await cache.get(other, bearing(token));
    expect([refused.status, refused.errorCode]).toEqual([401, 'UNAUTHORIZED']);
    expect(refused.headers['www-authenticate']).toBe(
      'Bearer realm="https://cache.example/token",service="cache.example",scope="repository:up/team/other:pull",error="insufficient_scope"',
    );
    const wider = await tokenOf('ann', scopeOf('up/team/app'), scopeOf('up/team/other'));
    expect((await cache.get(other, bearing(wider))).status).toBe(200);
  });

  test('is over when its life is, by the clock of the cache', async () => {
    const { cache, tokenOf } = await startGuarded({ tokens: { lifetime: '1m', leeway: 0 } });
    const token = await tokenOf('ann', scopeOf('up/team/app'));
    await cache.clock.advance(59_000);
    expect((await cache.get(app, bearing(token))).status).toBe(200);
    await cache.clock.advance(1000);
    const refused = await cache.get(app, bearing(token));
    expect(refused.status).toBe(401);
    expect(refused.headers['www-authenticate']).toMatch(/,error="invalid_token"$/);
    expect(refused.body.toString()).toContain('the token has expired');
  });

  test('proves who asks and no more: what was allowed when it was given may be denied when it is used', async () => {
    const denied = new Set<string>();
    const asked: unknown[] = [];
    const authorize: AccessOptions['authorize'] = ({ identity, upstream, repository, action }) => {
      asked.push([identity?.name, action, upstream, repository]);
      return !denied.has(identity?.name ?? '');
    };
    const { cache, tokenOf } = await startGuarded({ authorize });
    const token = await tokenOf('ann', scopeOf('up/team/app'));
    expect(asked).toEqual([]);
    expect((await cache.get(app, bearing(token))).status).toBe(200);
    expect(asked).toEqual([['ann', 'pull', 'up', 'team/app']]);
    denied.add('ann');
    expect(await cache.get(app, bearing(token))).toMatchObject({ status: 403, errorCode: 'DENIED' });
    expect((await cache.get(app, bearing(await tokenOf('bob', scopeOf('up/team/app'))))).status).toBe(200);
  });

  test('lists the repositories it was asked to list, and none without', async () => {
    const { cache, tokenOf } = await startGuarded();
    const list = async (token: string) =>
      JSON.parse((await cache.get('/v2/_catalog', bearing(token))).body.toString()).repositories;
    await cache.get(app, bearing(await tokenOf('ann', scopeOf('up/team/app'))));
    expect(await list(await tokenOf('ann', 'registry:catalog:*'))).toEqual(['up/team/app']);
    expect(await list(await tokenOf('ann'))).toEqual([]);
  });

  test('is told apart from none and from wrong ones in audits, and is in none of them', async () => {
    const { cache, tokenOf } = await startGuarded({ anonymous: false });
    const token = await tokenOf('ann', scopeOf('up/team/app'));
    for (const more of [bearing(token), bearing(`${token}x`), {}]) await cache.get(app, more);
    const pulls = cache.seen('pull').map(({ identity, decision, status }) => [identity, decision, status]);
    expect(pulls).toEqual([
      ['ann', 'allow', 200],
      [undefined, 'unauthenticated', 401],
      [undefined, 'unauthenticated', 401],
    ]);
    const told = JSON.stringify(cache.events);
    for (const part of token.split('.')) expect(told).not.toContain(part);
  });
});

describe('a token of nobody', () => {
  const authorize: AccessOptions['authorize'] = ({ identity, repository }) =>
    identity !== undefined || repository === 'team/app' || { allow: false, reason: 'log in to pull this' };

  test('lets pull what is for all, is asked for on /v2/ alone, and 401 for the rest', async () => {
    const { cache } = await startGuarded({ authorize, tokens: { anonymous: true } });
    const ping = await cache.get('/v2/');
    expect([ping.status, ping.headers['www-authenticate']]).toEqual([
      401,
      'Bearer realm="https://cache.example/token",service="cache.example"',
    ]);
    const { token } = JSON.parse((await cache.get(`/token?scope=${scopeOf('up/team/app')}`)).body.toString());
    for (const more of [bearing(token), {}]) expect((await cache.get(app, more)).status).toBe(200);
    expect((await cache.get('/v2/', bearing(token))).status).toBe(200);
    const refused = await cache.get(other, bearing(token));
    expect(refused.status).toBe(401);
    expect(refused.headers['www-authenticate']).toContain('scope="repository:up/team/other:pull"');
    expect(refused.body.toString()).toContain('log in to pull this');
  });

  test('is of no use where everybody has to log in', async () => {
    const { cache } = await startGuarded({ anonymous: false, tokens: { anonymous: true } });
    const { token } = JSON.parse((await cache.get(`/token?scope=${scopeOf('up/team/app')}`)).body.toString());
    expect((await cache.get(app, bearing(token))).status).toBe(401);
    expect((await cache.get('/v2/', bearing(token))).status).toBe(401);
  });
});

describe('the token service', () => {
  test('is where the cache is mounted, and its realm too, whatever Host a client names', async () => {
    const { cache } = await startGuarded({ anonymous: false }, { mount: { basePath: '/registry' } });
    const refused = await cache.get('/registry/v2/up/team/app/manifests/1', { headers: { host: 'evil.example' } });
    expect(refused.status).toBe(401);
    expect(refused.headers['www-authenticate']).toContain('realm="https://cache.example/registry/token"');
    expect(JSON.stringify(refused.headers)).not.toContain('evil.example');
    expect((await cache.get('/registry/token', basic('ann'))).status).toBe(200);
    expect((await cache.get('/token', basic('ann'))).status).toBe(404);
  });

  test('that cannot check a password says 503, not 401, and what is known of it is not told', async () => {
    const away: PasswordVerifier = () => Promise.reject(new Error('directory.internal: connection refused'));
    const { cache } = await startGuarded({ tokens: { verify: away } });
    const got = await cache.get('/token', basic('ann'));
    expect([got.status, got.errorCode]).toEqual([503, 'UNAVAILABLE']);
    expect(got.headers['retry-after']).toBeDefined();
    expect(got.body.toString()).not.toContain('directory.internal');
    expect(cache.seen('access-failed')).toMatchObject([{ hook: 'handle', error: expect.stringContaining('refused') }]);
  });

  test('is 503 where the cache is full or closed: it was 404, which clients take for good', async () => {
    const { upstream, cache, tokenOf } = await startGuarded({}, { cache: { maxRequests: 1 } });
    const token = await tokenOf('ann', scopeOf('up/team/app'));
    const held = gate();
    upstream.on({ path: /\/manifests\// }, { gate: held });
    const first = cache.get(app, bearing(token));
    await held.reachedBy(1);
    const full = await cache.get('/token', basic('ann'));
    expect([full.status, full.errorCode, full.headers['retry-after']]).toEqual([503, 'UNAVAILABLE', '1']);
    expect((await cache.get('/metrics')).status).toBe(404);
    held.open();
    expect((await first).status).toBe(200);
    expect((await cache.get('/token', basic('ann'))).status).toBe(200);
    await cache.cache.close();
    const closed = await cache.get('/token', basic('ann'));
    expect([closed.status, closed.headers['retry-after']]).toEqual([503, '5']);
  });

  test('reads no more of a form than a form needs', async () => {
    const { cache } = await startGuarded();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const got = await cache.get('/token', {
      method: 'POST',
      headers,
      body: `grant_type=password&${'x'.repeat(100_000)}`,
    });
    expect([got.status, got.errorCode]).toEqual([413, 'SIZE_INVALID']);
  });

  test('tells nobody a password, a token or its secret', async () => {
    const { cache, tokenOf } = await startGuarded();
    const token = await tokenOf('ann', scopeOf('up/team/app'));
    const wrong = await cache.get('/token', basic('ann', 'hunter22'));
    const form = new URLSearchParams({ grant_type: 'password', username: 'ann', password: 'hunter22' }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const posted = await cache.get('/token', { method: 'POST', headers, body: form });
    expect([wrong.status, posted.status]).toEqual([401, 401]);
    const told =
      JSON.stringify(cache.events) + wrong.body + posted.body + JSON.stringify([wrong.headers, posted.headers]);
    for (const part of ['hunter22', 'pa55', secret, ...token.split('.')]) expect(told).not.toContain(part);
  });

  test('gives tokens that another replica with the same keys takes', async () => {
    const [one, two] = [await startGuarded(), await startGuarded()];
    const token = await one.tokenOf('ann', scopeOf('up/team/app'));
    expect((await two.cache.get(app, bearing(token))).status).toBe(200);
    const stranger = await startGuarded({ tokens: { keys: { secret: 'some other secret of 32 bytes or more' } } });
    expect((await stranger.cache.get(app, bearing(token))).status).toBe(401);
  });
});
