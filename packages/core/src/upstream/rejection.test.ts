import { inspect } from 'node:util';
import {
  type FakeHost,
  type FakeUpstream,
  type FakeUpstreamOptions,
  jsonAnswer,
  type ManualClock,
  manualClock,
  ociError,
  startFakeHost,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { createClient } from './client.ts';
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
  const upstream = createClient(upstreamSettings({ key: 'hub', url: registry.url, auth, ...more }), {
    clock,
    observe: (event) => events.push(event),
  });
  cleanups.push(() => upstream.close());
  return upstream;
}

const pull = (upstream: Upstream, tag = '3', repository = 'library/alpine') =>
  upstream.resolve({ ...query, repository, tag });
const tokenPath = { path: '/token' };

describe('a configured credential', () => {
  it('that is rejected is told apart, told to the observer, and left alone for 5 s doubling to 5 min', async () => {
    const registry = await start({ bearer: { users } });
    const upstream = connect(registry, { username: 'ann', password: 'wrong' });
    const message = expect.not.stringContaining(registry.host);
    const expected = { code: 'credentials-rejected', status: 401, retryAt: clock.now() + 5_000, message };
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

  it('that Basic took before is denied one repository by a 401, and the others need not wait', async () => {
    const registry = await start({ basic: { users: { ann: { password: secret, repositories: ['library/alpine'] } } } });
    const upstream = connect(registry, { username: 'ann', password: secret });
    await pull(upstream);
    expect(await pull(upstream, '1', 'library/busybox')).toMatchObject({ kind: 'denied', status: 401 });
    expect(registry.requests.slice(2).map(({ path, status }) => [path, status])).toEqual([
      ['/v2/library/busybox/manifests/1', 401],
      ['/v2/', 200],
    ]);
    expect(await pull(upstream)).toMatchObject({ kind: 'found' });
    expect(events.filter(({ type }) => type === 'credentials-rejected')).toEqual([]);
  });

  it('that a token service took before is denied one scope by a 401, and the others need not wait', async () => {
    const registry = await start({ bearer: { users, public: [] } });
    const upstream = connect(registry, { username: 'ann', password: secret });
    await pull(upstream);
    registry.on({ ...tokenPath, times: 1 }, jsonAnswer(401, { details: 'not yours' }));
    expect(await pull(upstream, '1', 'library/busybox')).toMatchObject({ kind: 'denied', status: 401 });
    const scopes = registry.requests.filter(({ path }) => path === '/token').map(({ query }) => query.get('scope'));
    expect(scopes).toEqual(['repository:library/alpine:pull', 'repository:library/busybox:pull', null]);
    expect(await pull(upstream)).toMatchObject({ kind: 'found' });
    expect(events.filter(({ type }) => type === 'credentials-rejected')).toEqual([]);
  });

  it('that was taken before, and is wrong now, is rejected at once', async () => {
    const registry = await start({ basic: { username: 'ann', password: secret } });
    const upstream = connect(registry, { username: 'ann', password: secret });
    await pull(upstream);
    registry.change({ auth: { basic: { username: 'ann', password: 'another' } } });
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'credentials-rejected' });
    registry.clear();
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'credentials-rejected' });
    expect(registry.requests).toEqual([]);
  });

  it('that was taken before, and is wrong now, is rejected at once, whatever token is still good', async () => {
    const registry = await start({ bearer: { users, public: [], expiresIn: 300 } });
    const upstream = connect(registry, { username: 'ann', password: secret });
    await pull(upstream);
    expect(await upstream.ping(query)).toMatchObject({ kind: 'found' });
    registry.change({ auth: { bearer: { users: { ann: { password: 'another' } }, public: [] } } });
    await expect(pull(upstream, '1', 'library/busybox')).rejects.toMatchObject({ code: 'credentials-rejected' });
  });

  it('is left alone at the second 401 in a row, though /v2/ is open to everybody', async () => {
    const registry = await start({ basic: { username: 'ann', password: secret } });
    registry.serve('/v2/', () => jsonAnswer(200, {}));
    const upstream = connect(registry, { username: 'ann', password: secret });
    await pull(upstream);
    registry.change({ auth: { basic: { username: 'ann', password: 'another' } } });
    expect(await pull(upstream)).toMatchObject({ kind: 'denied' });
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'credentials-rejected' });
    registry.clear();
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'credentials-rejected' });
    expect(registry.requests).toEqual([]);
  });

  it('is not taken by a registry that fails', async () => {
    const registry = await start({ basic: { username: 'ann', password: secret } });
    const upstream = connect(registry, { username: 'ann', password: 'wrong' });
    await pull(upstream).catch(() => undefined);
    await clock.advance(5_000);
    registry.on({ method: 'HEAD', times: 1 }, { status: 503 });
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'server-error' });
    await expect(pull(upstream)).rejects.toMatchObject({ retryAt: clock.now() + 10_000 });
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
