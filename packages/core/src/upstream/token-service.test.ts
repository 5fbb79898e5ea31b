import { inspect } from 'node:util';
import {
  type FakeUpstream,
  type FakeUpstreamOptions,
  gate,
  jsonAnswer,
  type ManualClock,
  manualClock,
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

  it('passes on its word on when to come again with a 503', async () => {
    const registry = await start({ bearer: {} });
    registry.on(tokenPath, { status: 503, headers: { 'retry-after': '7' } });
    const failure = { code: 'token-failed', status: 503, retryAt: clock.now() + 7_000 };
    await expect(pull(connect(registry))).rejects.toMatchObject(failure);
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

  it('is left alone also where it gives a token that it was asked for before its 429', async () => {
    const registry = await start({ bearer: {} });
    const held = gate();
    registry.on({ ...tokenPath, times: 1 }, { gate: held });
    const upstream = connect(registry);
    const first = pull(upstream);
    await held.reached;
    registry.on({ ...tokenPath, times: 1 }, { status: 429, headers: { 'retry-after': '60' } });
    const limited = { code: 'rate-limited', retryAt: clock.now() + 60_000 };
    await expect(pull(upstream, '1', 'library/busybox')).rejects.toMatchObject(limited);
    held.open();
    expect(await first).toMatchObject({ kind: 'found' });
    await expect(pull(upstream, '1', 'library/busybox')).rejects.toMatchObject(limited);
    expect(registry.tokenCalls()).toBe(2);
  });

  it('that never ends its answer is asked anew after 30 s, though clients keep waiting for it', async () => {
    const registry = await start({ bearer: {} });
    const endless = { 'content-type': 'application/json', 'content-length': '100' };
    registry.on({ ...tokenPath, times: 1 }, { status: 200, headers: endless, body: '{' });
    const upstream = connect(registry, 'anonymous', { timeouts: { idle: '1h' } });
    const first = pull(upstream).catch((error: unknown) => error);
    await expect.poll(() => events.filter(({ type }) => type === 'upstream-request').length).toBe(2);
    await clock.advance(20_000);
    const second = pull(upstream).catch((error: unknown) => error);
    await clock.advance(10_000);
    expect([await first, await second]).toMatchObject([{ code: 'timeout' }, { code: 'timeout' }]);
    expect(await pull(upstream)).toMatchObject({ kind: 'found' });
    expect(registry.tokenCalls()).toBe(2);
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

describe('a token service that has moved', () => {
  const ann = { username: 'ann', password: secret };

  /** Another host, which gives what the registry's own token service would give to nobody in particular. */
  async function startElsewhere(registry: FakeUpstream, status = 200) {
    const host = await startFakeHost({ address: '127.0.0.2' }, async () => {
      const { token } = (await (await fetch(`${registry.url}/token?scope=repository:library/alpine:pull`)).json()) as {
        token: string;
      };
      return jsonAnswer(status, status === 200 ? { token } : { details: 'no' });
    });
    cleanups.push(host.stop);
    return host;
  }

  it.each([301, 302, 303, 307, 308] as const)('is followed by a %i on its own origin, as itself', async (status) => {
    const registry = await start({ bearer: { users, public: [] } });
    registry.on({ ...tokenPath, times: 1 }, { redirect: '/token?scope=repository:library/alpine:pull', status });
    expect(await pull(connect(registry, ann))).toMatchObject({ kind: 'found' });
    const asked = registry.requests.filter(({ path }) => path === '/token');
    expect(asked.map(({ headers }) => headers.authorization)).toEqual(Array(2).fill(expect.stringMatching(/^Basic /)));
  });

  it('is followed to another origin as nobody, whose 401 says nothing of the credential', async () => {
    const registry = await start({ bearer: {} });
    for (const [status, reply] of [
      [200, { kind: 'found' }],
      [401, { kind: 'denied', status: 401, message: expect.stringContaining('redirected elsewhere') }],
    ] as const) {
      const elsewhere = await startElsewhere(registry, status);
      registry.on({ ...tokenPath, times: 1 }, { redirect: `${elsewhere.url}/moved` });
      // Paired or not, as with all redirects.
      expect(await pull(connect(registry, ann, { tokenHosts: [elsewhere.host] }))).toMatchObject(reply);
      expect(elsewhere.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
    }
    expect(events.filter(({ type }) => type === 'credentials-rejected')).toEqual([]);
  });

  it('is followed to no address where nothing may lead, and not without an end', async () => {
    const registry = await start({ bearer: {} });
    const heal = registry.on(tokenPath, { redirect: 'http://169.254.169.254/latest/meta-data/' });
    await expect(pull(connect(registry))).rejects.toMatchObject({ code: 'address-refused' });
    heal();
    registry.on(tokenPath, { redirect: '/token?again' });
    const message = expect.stringMatching(/^hub: its token service redirected more than 5 times$/);
    await expect(pull(connect(registry))).rejects.toMatchObject({ code: 'foreign-answer', message });
    expect(inspect(events, { depth: 10 })).not.toMatch(/again|meta-data/);
  });

  it('is not followed with a form, which holds the credential', async () => {
    const registry = await start({ bearer: {} });
    const elsewhere = await startElsewhere(registry);
    registry.on({ ...tokenPath, method: 'POST' }, { redirect: elsewhere.url });
    const upstream = connect(registry, { username: '<token>', password: secret });
    await expect(pull(upstream)).rejects.toMatchObject({ code: 'token-failed', status: 307 });
    expect(elsewhere.requests).toEqual([]);
  });
});
