import {
  type FakeUpstream,
  type FakeUpstreamOptions,
  htmlPage,
  manualClock,
  selfSigned,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { checkEndpoints, type UpstreamCheck } from './check.ts';
import type { Lookup } from './connector.ts';
import type { UpstreamOptions } from './upstream-options.ts';

let cleanups: (() => Promise<void>)[];
beforeEach(() => {
  cleanups = [];
});
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function start(options?: FakeUpstreamOptions): Promise<FakeUpstream> {
  const registry = await startFakeUpstream(options);
  cleanups.push(registry.stop);
  return registry;
}

const clock = manualClock();

function check(
  url: string,
  { lookup, ...more }: Partial<UpstreamOptions> & { lookup?: Lookup } = {},
): Promise<UpstreamCheck> {
  const { signal } = new AbortController();
  const parts = { clock, observe: () => undefined, signal, ...(lookup && { lookup }) };
  return checkEndpoints(upstreamSettings({ key: 'corp', url, ...more }), parts);
}

/** What is wrong with an upstream of one base URL. */
async function flawOf(...asked: Parameters<typeof check>): Promise<{ reason: string; message: string }> {
  const { ok, endpoints } = await check(...asked);
  const [only] = endpoints;
  if (ok || !only || only.ok) throw new Error('nothing is wrong');
  return only;
}

const failingLookup = (code: string): Lookup => {
  const error = Object.assign(new Error(`getaddrinfo ${code}`), { code });
  return (_name, _options, callback) => callback(error, []);
};

describe('a check of an upstream', () => {
  it.each([
    ['open', {}, {}],
    ['behind tokens for everybody', { auth: { bearer: {} } }, {}],
    [
      'behind a password that is right',
      { auth: { basic: { username: 'ann', password: 'a' } } },
      { auth: { username: 'ann', password: 'a' } },
    ],
    [
      "behind its callers' passwords",
      { auth: { basic: { username: 'ann', password: 'a' } } },
      { credentials: 'caller' },
    ],
  ] as const)('finds a registry that is %s', async (_what, registry, options) => {
    const { url } = await start(registry);
    expect(await check(url, options)).toEqual({
      upstream: 'corp',
      ok: true,
      endpoints: [{ host: new URL(url).host, durationMs: expect.any(Number), ok: true }],
    });
  });

  it('names a host that DNS does not know, and one that it cannot be asked about', async () => {
    const unknown = await flawOf('http://registry.invalid', { lookup: failingLookup('ENOTFOUND') });
    expect(unknown).toMatchObject({
      reason: 'dns',
      // Once: whose name it is nobody has to be told twice.
      message: 'registry.invalid is not known to DNS; check the name',
    });
    const unasked = await flawOf('http://registry.invalid', { lookup: failingLookup('EAI_AGAIN') });
    expect(unasked).toMatchObject({ reason: 'dns', message: expect.stringContaining('DNS server did not answer') });
  });

  it('says that nothing listens, and where', async () => {
    const registry = await start();
    await registry.stop();
    const flaw = await flawOf(registry.url);
    expect(flaw).toMatchObject({ reason: 'refused', message: expect.stringContaining('nothing listens') });
    expect(flaw.message).toContain(new URL(registry.url).host);
  });

  it('says that a certificate is not trusted, and that a port speaks no TLS', async () => {
    const { server, ca } = await selfSigned();
    const registry = await start({ tls: server });
    const message = expect.stringMatching(/certificate.*tls\.ca/);
    expect(await flawOf(registry.url)).toMatchObject({ reason: 'tls', message });
    expect(await check(registry.url, { tls: { ca } })).toMatchObject({ ok: true });
    const plain = await start();
    const url = plain.url.replace('http:', 'https:');
    expect(await flawOf(url)).toMatchObject({ reason: 'tls', message: expect.stringContaining('plain http') });
  });

  it('says that a registry wants a credential, that it refuses this one, and never the credential', async () => {
    const { url } = await start({ auth: { basic: { username: 'ann', password: 'right' } } });
    expect(await flawOf(url)).toMatchObject({
      reason: 'credentials-wanted',
      status: 401,
      message: expect.stringMatching(/^corp is a registry that wants a credential \(401: .*give it one as auth$/),
    });
    const refused = await flawOf(url, { auth: { username: 'ann', password: 'S3cret-1' } });
    expect(refused.reason).toBe('credentials-rejected');
    expect(JSON.stringify(refused)).not.toContain('S3cret-1');
  });

  it('says that a token service refuses the credential, and that it fails', async () => {
    const registry = await start({ auth: { bearer: { users: { ann: { password: 'right' } } } } });
    const auth = { username: 'ann', password: 'wrong' };
    expect(await flawOf(registry.url, { auth })).toMatchObject({ reason: 'credentials-rejected' });
    registry.serve('/token', () => ({ status: 503, headers: {}, body: 'down' }));
    const message = expect.stringContaining('token service');
    expect(await flawOf(registry.url)).toMatchObject({ reason: 'token-failed', message });
  });

  it.each([
    ['a web page with 200', htmlPage(200, 'Sign in'), 'web-page', /portal/],
    ['a web page with 403', htmlPage(403, 'Blocked'), 'web-page', /blocks it/],
    ['a 404', { status: 404, body: 'no such page' }, 'no-registry', /needs that path in its url/],
    ['401 without a challenge', { status: 401, body: 'no' }, 'no-registry', /does its url lead to a registry/],
    [
      'text with 200',
      { status: 200, body: 'hi', headers: { 'content-type': 'text/plain' } },
      'no-registry',
      /is no registry/,
    ],
    ['500', { status: 500, body: 'oh' }, 'server-error', /500/],
    ['429', { status: 429, body: '' }, 'rate-limited', /too many requests/],
  ] as const)('tells %s apart', async (_what, fault, reason, message) => {
    const registry = await start();
    registry.serve('/v2/', () => ({ headers: {}, ...fault }));
    expect(await flawOf(registry.url)).toMatchObject({ reason, message: expect.stringMatching(message) });
  });

  it('asks once, whatever retries and breaker there are, and does not wait for long', async () => {
    const registry = await start();
    registry.serve('/v2/', () => ({ status: 503, headers: {}, body: '' }));
    await check(registry.url, { retry: { attempts: 5 } });
    expect(registry.requests).toHaveLength(1);
  });

  it('says that no answer came in time', async () => {
    const registry = await start();
    registry.serve('/v2/', () => new Promise(() => undefined));
    const flaw = flawOf(registry.url);
    await expect.poll(() => registry.requests.length).toBe(1);
    await clock.advance(30_000);
    expect(await flaw).toMatchObject({ reason: 'timeout', message: expect.stringContaining('in time') });
  });

  it('looks at each endpoint with its own credential', async () => {
    const own = { username: 'ann', password: 'a' };
    const [first, second] = [await start({ auth: { basic: own } }), await start({ auth: { basic: own } })];
    const found = await check(first.url, { auth: own, endpoints: [second.url, { url: second.url, auth: own }] });
    expect(found.ok).toBe(false);
    expect(found.endpoints.map((endpoint) => (endpoint.ok ? 'ok' : endpoint.reason))).toEqual([
      'ok',
      'credentials-wanted',
      'ok',
    ]);
  });

  it('ends with its signal', async () => {
    const registry = await start();
    registry.serve('/v2/', () => new Promise(() => undefined));
    const left = new AbortController();
    const asked = checkEndpoints(upstreamSettings({ key: 'corp', url: registry.url }), {
      clock,
      observe: () => undefined,
      signal: left.signal,
    });
    await expect.poll(() => registry.requests.length).toBe(1);
    left.abort(new Error('not any more'));
    await expect(asked).rejects.toThrow('not any more');
  });
});
