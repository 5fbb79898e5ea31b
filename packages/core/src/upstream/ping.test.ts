import {
  type FakeUpstream,
  type FakeUpstreamOptions,
  htmlPage,
  jsonAnswer,
  manualClock,
  selfSigned,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { createClient } from './client.ts';
import type { Lookup } from './connector.ts';
import type { Upstream } from './upstream.ts';
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

function ping(
  url: string,
  { lookup, ...more }: Partial<UpstreamOptions> & { lookup?: Lookup } = {},
): ReturnType<Upstream['ping']> {
  const settings = upstreamSettings({ key: 'corp', url, ...more });
  const upstream = createClient(settings, {
    clock: manualClock(),
    observe: () => undefined,
    ...(lookup && { lookup }),
  });
  cleanups.push(() => upstream.close());
  return upstream.ping({
    scope: '-',
    deadlineAt: Number.POSITIVE_INFINITY,
    signal: new AbortController().signal,
  });
}

describe('ping', () => {
  it('finds a registry, open, behind tokens, or below a path', async () => {
    expect(await ping((await start()).url)).toEqual({ kind: 'found', value: undefined });
    expect(await ping((await start({ auth: { bearer: {} } })).url)).toEqual({ kind: 'found', value: undefined });
    expect(await ping((await start({ basePath: '/pfx' })).url)).toEqual({ kind: 'found', value: undefined });
  });

  it('is denied by a registry that wants a credential', async () => {
    const registry = await start({ auth: { basic: { username: 'ann', password: 'a' } } });
    expect(await ping(registry.url)).toMatchObject({ kind: 'denied', status: 401 });
  });

  it('tells that the credential is rejected', async () => {
    const registry = await start({ auth: { basic: { username: 'ann', password: 'a' } } });
    const asked = ping(registry.url, { auth: { username: 'ann', password: 'b' } });
    await expect(asked).rejects.toMatchObject({ code: 'credentials-rejected' });
  });

  it('tells that the name is not known to DNS', async () => {
    const unknown = Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' });
    const lookup: Lookup = (_name, _options, callback) => callback(unknown, []);
    await expect(ping('http://registry.invalid', { lookup })).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringMatching(/^corp is not known to DNS/),
      cause: expect.objectContaining({ message: expect.stringMatching(/^registry\.invalid is not/) }),
    });
  });

  it('tells that nothing listens', async () => {
    const registry = await start();
    await registry.stop();
    await expect(ping(registry.url)).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining('nothing listens'),
    });
  });

  it('tells that the certificate is of an authority that is not trusted', async () => {
    const { server } = await selfSigned();
    const registry = await start({ tls: server });
    await expect(ping(registry.url)).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringMatching(/certificate.*tls\.ca/),
    });
  });

  it('tells that there is no TLS on that port', async () => {
    const registry = await start();
    await expect(ping(registry.url.replace('http:', 'https:'))).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining('TLS handshake'),
    });
  });

  it.each([
    ['a web page', htmlPage(200, 'Sign in'), /web page/],
    ['a web page with 403', htmlPage(403, 'Blocked'), /web page.*blocks it/],
    ['401 without a challenge', { status: 401, body: 'no' }, /no registry error/],
    ['404', { status: 404, body: 'no such page' }, /no registry.*path in its url/],
    ['a 200 of something else', { status: 200, body: 'hi', headers: { 'content-type': 'text/plain' } }, /no registry/],
  ] as const)('tells that it is no registry by %s', async (_what, fault, message) => {
    const registry = await start();
    registry.serve('/v2/', () => ({ headers: {}, ...fault }));
    await expect(ping(registry.url)).rejects.toMatchObject({
      code: 'foreign-answer',
      message: expect.stringMatching(message),
    });
  });

  it('takes any JSON with 200 for a registry, as some answer without the version header', async () => {
    const registry = await start();
    registry.serve('/v2/', () => jsonAnswer(200, {}));
    expect(await ping(registry.url)).toMatchObject({ kind: 'found' });
  });
});
