import {
  type FakeUpstream,
  type FakeUpstreamOptions,
  gate,
  jsonAnswer,
  type ManualClock,
  manualClock,
  ociError,
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

  it('is asked for one new token by all whose old one was refused, however late they learn of it', async () => {
    const registry = await start({ bearer: { expiresIn: 300 } });
    const upstream = connect(registry);
    await pull(upstream);
    registry.revokeTokens();
    // All leave with the old token; two of them hear of it when the others have the new one.
    const late = [gate(), gate()];
    for (const [i, held] of late.entries())
      registry.on({ path: `/v2/library/alpine/manifests/${i}`, times: 1 }, { gate: held });
    const pulls = late.map((_held, i) => pull(upstream, String(i)));
    await Promise.all(late.map((held) => held.reached));
    await pull(upstream);
    for (const [i, held] of late.entries()) {
      held.open();
      expect(await pulls[i]).toMatchObject({ kind: 'absent' });
    }
    expect(registry.tokenCalls()).toBe(2);
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
