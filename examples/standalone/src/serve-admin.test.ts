import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createProxyCache, memoryStorage } from '@proxycache/core';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseConfig } from './load-config.ts';
import { serveAdmin } from './serve-admin.ts';

const token = 'a-token-of-thirty-two-characters';

async function start(admin: Record<string, unknown> = {}, folder = '.') {
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const cache = createProxyCache({ upstreams: [{ key: 'up', url: 'http://127.0.0.1:9' }], storage: memoryStorage() });
  onTestFinished(() => cache.close({ graceMs: 0 }));
  const config = parseConfig({ admin: { port: 0, ...admin } }, {}).admin!;
  const served = await serveAdmin(cache, config, { folder, logger });
  onTestFinished(served.stop);
  return { ...served, cache, lines };
}

describe('the operations API', () => {
  test('is for users of this machine, with metrics, and not for whom a proxy brings', async () => {
    const { url, cache } = await start();
    expect((await fetch(`${url}/upstreams`)).status).toBe(200);
    expect((await fetch(`${url}/upstreams`, { headers: { 'x-forwarded-for': '192.0.2.1' } })).status).toBe(403);
    await cache.fetch(new Request('http://cache/v2/'));
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('process_resident_memory_bytes');
    const elsewhere = await fetch(new URL('/v2/', url));
    const { detail } = (await elsewhere.json()) as { detail: string };
    expect([elsewhere.status, detail]).toEqual([404, expect.stringContaining('below /admin/v1')]);
  });

  test.each(['token', 'tokenFile'])('with a %s is for whoever has it', async (key) => {
    const folder = mkdtempSync(join(tmpdir(), 'proxycache-admin-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'token'), `${token}\n`);
    const { url } = await start({ [key]: key === 'token' ? token : 'token' }, folder);
    const ask = (authorization?: string) =>
      fetch(`${url}/upstreams`, { headers: authorization === undefined ? {} : { authorization } });
    for (const wrong of [undefined, token, `Bearer ${token}x`, `bearer ${token.slice(1)}`, 'Bearer ']) {
      const refused = await ask(wrong);
      expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
        401,
        expect.stringMatching(/^Bearer /),
      ]);
    }
    expect((await ask(`Bearer ${token}`)).status).toBe(200);
  });

  test('logs each write, and no secret', async () => {
    const { url, lines } = await start();
    const body = JSON.stringify({ key: 'new', url: 'http://127.0.0.1:9', auth: { token: '271828' } });
    const headers = { 'content-type': 'application/json' };
    expect((await fetch(`${url}/upstreams?`, { method: 'POST', headers, body })).status).toBe(201);
    await expect
      .poll(() => lines.filter(({ msg }) => msg === 'operation'))
      .toEqual([
        expect.objectContaining({ client: '127.0.0.1', method: 'POST', path: '/admin/v1/upstreams', status: 201 }),
      ]);
    expect(JSON.stringify(lines)).not.toContain('271828');
  });

  test('ends its jobs with its server', async () => {
    const { url, stop } = await start();
    const headers = { 'content-type': 'application/json' };
    expect((await fetch(`${url}/jobs`, { method: 'POST', headers, body: '{"kind":"scrub"}' })).status).toBe(202);
    await stop();
    await expect(fetch(`${url}/jobs`)).rejects.toThrow();
  });

  test('at a port that is in use says its place in the configuration', async () => {
    const other = createServer();
    await new Promise<void>((done) => other.listen(0, '127.0.0.1', done));
    onTestFinished(() => void other.close());
    const { port } = other.address() as AddressInfo;
    await expect(start({ port })).rejects.toThrow(`admin.port: 127.0.0.1 port ${port} is in use`);
  });
});

describe('its configuration', () => {
  const admin = (keys: Record<string, unknown>) => () => parseConfig({ admin: { port: 5001, ...keys } }, {});

  test('is off where there is none, and wants its port', () => {
    expect(parseConfig({}, {}).admin).toBeUndefined();
    expect(() => parseConfig({ admin: {} }, {})).toThrow('admin.port');
    expect(admin({})().admin).toEqual({ host: '127.0.0.1', port: 5001 });
  });

  test('leaves it to nobody who reaches this machine without a token', () => {
    for (const host of ['0.0.0.0', '::', '192.0.2.1', 'cache.example']) {
      expect(admin({ host })).toThrow('admin.host: expected a loopback address, or token or tokenFile beside it');
      expect(admin({ host, token })).not.toThrow();
    }
    for (const host of ['localhost', '::1', '127.0.0.2']) expect(admin({ host })).not.toThrow();
  });

  test('refuses a token that can be guessed, or two', async () => {
    expect(admin({ token: 'short' })).toThrow('admin.token: expected 32 characters or more');
    expect(admin({ token, tokenFile: 'x' })).toThrow('expected token or tokenFile, not both');
    await expect(start({ tokenFile: 'not-there' })).rejects.toThrow('admin.tokenFile: ENOENT');
    const folder = mkdtempSync(join(tmpdir(), 'proxycache-admin-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'short'), 'short');
    await expect(start({ tokenFile: 'short' }, folder)).rejects.toThrow('admin.tokenFile: expected 32 characters');
  });

  test('has none of several workers, as jobs are of one process', () => {
    expect(() => parseConfig({ admin: { port: 5001 }, workers: 2 }, {})).toThrow('expected `workers: 1` beside it');
  });
});
