import { inspect } from 'node:util';
import {
  type FakeHost,
  type FakeUpstream,
  type FakeUpstreamOptions,
  gate,
  jsonAnswer,
  type ManualClock,
  manualClock,
  ociError,
  startFakeHost,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { createUpstream } from './client.ts';
import type { UpstreamAuth } from './credentials.ts';
import type { UpstreamEvent } from './events.ts';
import type { Upstream } from './upstream.ts';
import type { UpstreamOptions } from './upstream-options.ts';

const signal = new AbortController().signal;
const query = { repository: 'library/alpine', scope: '-', deadlineAt: Number.POSITIVE_INFINITY, signal };
const secret = 'correct horse';
const users = { ann: { password: secret } };

let clock: ManualClock;
let events: UpstreamEvent[];
let cleanups: (() => Promise<void>)[];

beforeEach(() => {
  clock = manualClock();
  events = [];
  cleanups = [];
});
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function start(auth: FakeUpstreamOptions['auth'], more: FakeUpstreamOptions = {}): Promise<FakeUpstream> {
  const registry = await startFakeUpstream({ clock, ...(auth && { auth }), ...more });
  cleanups.push(registry.stop);
  registry.addImage('library/alpine', { tag: '3' });
  registry.addImage('library/busybox', { tag: '1' });
  return registry;
}

async function startHost(): Promise<FakeHost> {
  const host = await startFakeHost({ address: '127.0.0.2' }, () => ociError(404, 'UNKNOWN', 'nothing here'));
  cleanups.push(host.stop);
  return host;
}

function connect(
  registry: FakeUpstream,
  auth: UpstreamAuth = 'anonymous',
  more: Partial<UpstreamOptions> = {},
): Upstream {
  const upstream = createUpstream(upstreamSettings({ key: 'hub', url: registry.url, auth, ...more }), {
    clock,
    observe: (event) => events.push(event),
  });
  cleanups.push(() => upstream.close());
  return upstream;
}

const pull = (upstream: Upstream, tag = '3', repository = 'library/alpine') =>
  upstream.resolve({ ...query, repository, tag });
const tokenPath = { path: '/token' };
const heads = (registry: FakeUpstream) => registry.count({ method: 'HEAD' });

describe('a registry that wants tokens', () => {
  it('costs one HEAD and no 401 once its challenge is known, in every repository', async () => {
    const registry = await start({ bearer: { expiresIn: 300 } });
    const upstream = connect(registry);
    expect(await pull(upstream)).toMatchObject({ kind: 'found' });
    expect(registry.requests.map(({ method, status }) => [method, status])).toEqual([
      ['HEAD', 401],
      ['GET', 200],
      ['HEAD', 200],
    ]);
    registry.clear();
    await pull(upstream);
    expect(registry.requests.map(({ method, status }) => [method, status])).toEqual([['HEAD', 200]]);
    registry.clear();
    await pull(upstream, '1', 'library/busybox');
    expect(registry.requests.map(({ method, status }) => [method, status])).toEqual([
      ['GET', 200],
      ['HEAD', 200],
    ]);
    expect(registry.requests[0]!.query.get('scope')).toBe('repository:library/busybox:pull');
    expect(events.filter((event) => event.type === 'upstream-request' && event.operation === 'token')).toHaveLength(2);
  });

  it('asks once for a token that many requests wait for', async () => {
    const registry = await start({ bearer: { expiresIn: 300 } });
    const upstream = connect(registry);
    const herd = Array.from({ length: 20 }, () =>
      upstream.resolve({ ...query, tag: '3', signal: new AbortController().signal }),
    );
    await Promise.all(herd);
    expect(registry.tokenCalls()).toBe(1);
  });

  it('keeps a token for 60 s where the service names no end, and gets the next one a little early', async () => {
    const registry = await start({ bearer: {} });
    const upstream = connect(registry);
    await pull(upstream);
    await clock.advance(53_000);
    await pull(upstream);
    expect(registry.tokenCalls()).toBe(1);
    await clock.advance(1_500);
    await pull(upstream);
    expect(registry.tokenCalls()).toBe(2);
    expect(registry.requests.filter(({ status }) => status === 401)).toHaveLength(1);
  });

  it('takes the token from access_token too', async () => {
    const registry = await start({ bearer: { field: 'access_token' } });
    expect(await pull(connect(registry))).toMatchObject({ kind: 'found' });
  });

  it.each([
    [401, []],
    [403, 'ecr'],
    [400, 'ecr-public'],
  ] as const)('retries once with a fresh token when a cached one is answered by %i', async (status, personality) => {
    const registry = await start({ bearer: { expiresIn: 300 } }, { personality });
    const upstream = connect(registry);
    await pull(upstream);
    registry.revokeTokens();
    registry.clear();
    expect(await pull(upstream)).toMatchObject({ kind: 'found' });
    expect(registry.requests.map(({ method, status: answered }) => [method, answered])).toEqual([
      ['HEAD', status],
      ['GET', 200],
      ['HEAD', 200],
    ]);
  });

  it('takes a refusal after a fresh token for a denial, and does not ask a third time', async () => {
    const registry = await start({ bearer: { public: ['library/alpine'], expiresIn: 300 } });
    const upstream = connect(registry);
    expect(await pull(upstream, '1', 'library/busybox')).toMatchObject({ kind: 'denied', status: 401 });
    expect(heads(registry)).toBe(2);
    expect(registry.tokenCalls()).toBe(1);
  });

  it('corrects a scope that the registry names otherwise', async () => {
    const registry = await start('none');
    const asked: (string | null)[] = [];
    registry.serve('/token', ({ query: asking }) => {
      asked.push(asking.get('scope'));
      return jsonAnswer(200, { token: `for-${asking.get('scope')}` });
    });
    const guarded = (name: string) =>
      registry.serve(`/v2/${name}/manifests/3`, ({ headers }) => {
        const scope = `repository:proxy/${name}:pull`;
        if (headers.authorization === `Bearer for-${scope}`) return jsonAnswer(404, { errors: [{ code: 'X' }] });
        const challenge = `Bearer realm="${registry.url}/token",service="s",scope="${scope}"`;
        return ociError(401, 'UNAUTHORIZED', 'no', { 'www-authenticate': challenge });
      });
    guarded('a');
    guarded('b');
    const upstream = connect(registry);
    expect(await pull(upstream, '3', 'a')).toMatchObject({ kind: 'absent' });
    expect(await pull(upstream, '3', 'b')).toMatchObject({ kind: 'absent' });
    expect(asked).toEqual(['repository:proxy/a:pull', 'repository:proxy/b:pull']);
  });

  it('asks with Basic by GET, and by POST where the service knows no GET', async () => {
    const registry = await start({ bearer: { users, public: [], post: true } });
    expect(await pull(connect(registry, { username: 'ann', password: secret }))).toMatchObject({ kind: 'found' });
    registry.on({ ...tokenPath, method: 'GET' }, { status: 405 });
    expect(await pull(connect(registry, { username: 'ann', password: secret }))).toMatchObject({ kind: 'found' });
    expect(registry.count({ ...tokenPath, method: 'POST' })).toBe(1);
  });

  it('sends an identity token as a refresh token by POST', async () => {
    const registry = await start({ bearer: {} });
    let form = new URLSearchParams();
    registry.serve('/token', ({ method, body }) => {
      form = new URLSearchParams(body);
      return method === 'POST' ? jsonAnswer(401, { details: 'no' }) : jsonAnswer(500, {});
    });
    const upstream = connect(registry, { username: '<token>', password: secret });
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'credentials-rejected' });
    expect(Object.fromEntries(form)).toEqual({
      grant_type: 'refresh_token',
      refresh_token: secret,
      service: registry.host,
      client_id: 'proxycache',
      scope: 'repository:library/alpine:pull',
    });
  });
});

describe('a token service that gives none', () => {
  it('is a denial where it says 403 in its own voice to an anonymous caller, as ghcr does', async () => {
    const registry = await start({ bearer: {} }, { personality: 'ghcr' });
    expect(await pull(connect(registry), '3', 'gone/image')).toMatchObject({ kind: 'denied', status: 403 });
  });

  it.each([401, 403, 404])('is a denial where it says %i in its own voice to an anonymous caller', async (status) => {
    const registry = await start({ bearer: {} });
    registry.on(tokenPath, jsonAnswer(status, { details: 'no' }));
    expect(await pull(connect(registry))).toMatchObject({ kind: 'denied', status });
  });

  it.each([403, 404])('is a denial where it says %i to an identity it accepts', async (status) => {
    const registry = await start({ bearer: { users } });
    registry.on(tokenPath, jsonAnswer(status, { details: 'no' }));
    const upstream = connect(registry, { username: 'ann', password: secret });
    expect(await pull(upstream)).toMatchObject({ kind: 'denied', status });
  });

  it.each([
    ['5xx', { status: 503 }, 'token-failed'],
    ['a web page', { status: 403, headers: { 'content-type': 'text/html' }, body: '<html>' }, 'token-failed'],
    ['a 404 of somebody else', { status: 404, body: 'no such page' }, 'token-failed'],
    ['no JSON', { status: 200, body: 'token=x' }, 'token-failed'],
    ['JSON without a token', { status: 200, body: '{}' }, 'token-failed'],
    ['a token that would break out of its header', { status: 200, body: '{"token":"a\\r\\nX: y"}' }, 'token-failed'],
    ['429', { status: 429 }, 'rate-limited'],
    ['no answer', { drop: 'rst' }, 'unreachable'],
  ] as const)('fails on %s', async (_what, fault, code) => {
    const registry = await start({ bearer: {} });
    registry.on(tokenPath, fault);
    await expect(pull(connect(registry))).rejects.toMatchObject({ code });
  });

  it('keeps a token that came in broken JSON out of the error', async () => {
    const registry = await start({ bearer: {} });
    registry.on(tokenPath, { status: 200, body: '{"token":"s3cr3t' });
    const error = await pull(connect(registry)).catch((thrown: unknown) => thrown);
    expect(inspect(error, { depth: 10 })).not.toContain('s3cr3t');
  });

  it('is left alone for a while after a 429', async () => {
    const registry = await start({ bearer: {} });
    registry.on({ ...tokenPath, times: 1 }, { status: 429, headers: { 'retry-after': '7' } });
    const upstream = connect(registry);
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'rate-limited', retryAt: clock.now() + 7_000 });
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'rate-limited' });
    expect(registry.tokenCalls()).toBe(1);
    await clock.advance(7_000);
    expect(await pull(upstream)).toMatchObject({ kind: 'found' });
  });

  it('is not waited for longer than the request may take, nor when the request is given up', async () => {
    const registry = await start({ bearer: {} });
    const held = gate();
    registry.on(tokenPath, { gate: held });
    const upstream = connect(registry);
    const late = upstream.resolve({ ...query, tag: '3', deadlineAt: clock.monotonic() + 2_000 });
    await held.reached;
    const abort = new AbortController();
    const given = upstream.resolve({ ...query, tag: '3', signal: abort.signal });
    const outcomes = Promise.allSettled([late, given]);
    abort.abort(new Error('the client left'));
    await expect(given).rejects.toThrow('the client left');
    await clock.advance(2_000);
    await expect(late).rejects.toMatchObject({ code: 'timeout' });
    await outcomes;
    // Nobody waits any more, so the token request itself is given up.
    await expect.poll(() => registry.requests.find(({ path }) => path === '/token')?.aborted).toBe(true);
  });
});

describe('a configured credential', () => {
  it('that is rejected is told apart, told to the observer, and left alone for 5 s doubling to 5 min', async () => {
    const registry = await start({ bearer: { users } });
    const upstream = connect(registry, { username: 'ann', password: 'wrong' });
    const expected = { code: 'credentials-rejected', status: 401, retryAt: clock.now() + 5_000 };
    await expect(pull(upstream)).rejects.toMatchObject(expected);
    expect(events.at(-1)).toEqual({
      type: 'credentials-rejected',
      upstream: 'hub',
      host: registry.host,
      retryAt: clock.now() + 5_000,
    });
    await expect(pull(upstream)).rejects.toMatchObject(expected);
    expect(registry.tokenCalls()).toBe(1);
    const waits: number[] = [];
    for (let rejection = 1; rejection < 10; rejection++) {
      const error = await pull(upstream).catch((thrown: { retryAt: number }) => thrown);
      waits.push((error as { retryAt: number }).retryAt - clock.now());
      await clock.advance(waits.at(-1)!);
      await pull(upstream).catch(() => undefined);
    }
    expect(waits).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300].map((s) => s * 1_000));
    expect(events.filter(({ type }) => type === 'credentials-rejected')).toHaveLength(10);
  });

  it('that is rejected shows neither name nor password in error and events', async () => {
    const registry = await start({ bearer: { users } });
    const error = await pull(connect(registry, { username: 'ann', password: 'wr0ng' })).catch((e: unknown) => e);
    expect(inspect([error, events], { depth: 10 })).not.toMatch(/wr0ng|YW5u/);
  });

  it('goes to a token host that is paired with the upstream', async () => {
    const host = await startHost();
    const registry = await start({ bearer: { users, public: [], at: host } });
    const upstream = connect(registry, { username: 'ann', password: secret }, { tokenHosts: [host.host] });
    expect(await pull(upstream)).toMatchObject({ kind: 'found' });
    expect(host.requests[0]!.headers.authorization).toMatch(/^Basic /);
  });

  it('does not go to any other token host, which is asked anonymously', async () => {
    const host = await startHost();
    const registry = await start({ bearer: { users, at: host } });
    expect(await pull(connect(registry, { username: 'ann', password: secret }))).toMatchObject({ kind: 'found' });
    expect(host.requests[0]!.headers).not.toHaveProperty('authorization');
    registry.change({ auth: { bearer: { users, public: [], at: host } } });
    host.on(tokenPath, jsonAnswer(401, { details: 'who?' }));
    const denied = await pull(connect(registry, { username: 'ann', password: secret }));
    expect(denied).toMatchObject({ kind: 'denied', message: expect.stringContaining('tokenHosts') });
  });

  it('is sent as Basic where that is asked for, and without being asked once that is known', async () => {
    const registry = await start({ basic: { username: 'ann', password: secret } });
    const upstream = connect(registry, { username: 'ann', password: secret });
    await pull(upstream);
    expect(await pull(upstream)).toMatchObject({ kind: 'found' });
    expect(registry.requests.map(({ status }) => status)).toEqual([401, 200, 200]);
  });

  it('that Basic rejects is rejected, without a second try', async () => {
    const registry = await start({ basic: { username: 'ann', password: secret } });
    const upstream = connect(registry, { username: 'ann', password: 'wrong' });
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'credentials-rejected' });
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'credentials-rejected' });
    expect(registry.requests).toHaveLength(2);
  });

  it('in the form of a token is sent as it is, at once', async () => {
    const registry = await start('none');
    expect(await pull(connect(registry, { token: 'abc' }))).toMatchObject({ kind: 'found' });
    expect(registry.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer abc']);
  });

  it('of a provider is asked for again, once, when the one before was refused', async () => {
    const registry = await start({ basic: { username: 'AWS', password: 'two' } }, { personality: 'ecr' });
    const refusals: boolean[] = [];
    const upstream = connect(registry, async ({ refused, upstream: key }) => {
      expect(key).toBe('hub');
      refusals.push(refused);
      return { username: 'AWS', password: refused ? 'two' : 'one' };
    });
    expect(await pull(upstream)).toMatchObject({ kind: 'found' });
    expect(await pull(upstream)).toMatchObject({ kind: 'found' });
    expect(refusals).toEqual([false, true]);
    expect(registry.requests.map(({ status }) => status)).toEqual([401, 403, 200, 200]);
  });

  it('of a provider that has no other one is not tried a second time', async () => {
    const registry = await start({ bearer: { users } });
    const upstream = connect(registry, async () => ({ username: 'ann', password: 'wrong' }));
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'credentials-rejected' });
    expect(registry.tokenCalls()).toBe(1);
  });

  it('that changed voids the tokens had by the one before', async () => {
    const registry = await start({ bearer: { users: { ...users, bob: { password: 'b' } }, expiresIn: 86_400 } });
    let name = 'ann';
    const passwords: Record<string, string> = { ann: secret, bob: 'b' };
    const upstream = connect(registry, async () => ({ username: name, password: passwords[name]! }));
    await pull(upstream);
    name = 'bob';
    await clock.advance(6 * 60_000);
    await pull(upstream);
    name = 'ann';
    await clock.advance(6 * 60_000);
    await pull(upstream);
    expect(registry.tokenCalls()).toBe(3);
  });

  it('that cannot be had fails, and is not asked for again at once', async () => {
    const registry = await start({ bearer: { users } });
    let calls = 0;
    const upstream = connect(registry, async () => {
      calls++;
      throw new Error('vault sealed');
    });
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'token-failed' });
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'token-failed' });
    expect(calls).toBe(1);
    expect(registry.requests).toHaveLength(0);
  });
});
