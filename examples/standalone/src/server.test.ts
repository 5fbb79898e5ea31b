import { once } from 'node:events';
import http from 'node:http';
import { connect } from 'node:net';
import type { CloseOptions, HttpRequest, HttpResponse, ProxyCache } from '@proxycache/core';
import { type Gate, gate } from '@proxycache/test-kit';
import { pino } from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import { parseConfig } from './load-config.ts';
import { type RunningServer, startServer } from './server.ts';

type Handle = ProxyCache['handle'];

const running: RunningServer[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.stop()));
});

/** A server before a made-up cache, and what it logged. */
async function start(handle: Handle, input: Record<string, unknown> = {}) {
  const lines: Record<string, unknown>[] = [];
  const closes: unknown[] = [];
  const logger = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const cache = {
    handle,
    async close(options?: CloseOptions) {
      closes.push(options);
    },
  };
  const config = parseConfig({ listen: { port: 0 }, ...input }, {});
  const server = await startServer({ cache, config, folder: '.', logger });
  running.push(server);
  return { server, lines, closes, port: Number(new URL(server.url).port) };
}

const json = (status: number, text: string): HttpResponse => ({
  status,
  headers: {
    'content-type': 'application/json',
    'content-length': `${text.length}`,
    'cache-status': 'proxycache; hit',
  },
  body: Buffer.from(text),
});

/** A body of which one chunk is there; the rest comes when the gate opens. */
function halfABody(rest: Gate, signal: AbortSignal): HttpResponse {
  async function* body() {
    yield Buffer.from('one ');
    await rest.pass(signal);
    yield Buffer.from('two');
  }
  return { status: 200, headers: { 'content-length': '7' }, body: body() };
}

const agents: http.Agent[] = [];
afterEach(() => {
  for (const agent of agents.splice(0)) agent.destroy();
});

/** Sends requests over one connection that it keeps. */
function client(port: number) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  agents.push(agent);
  return async (path: string, options: http.RequestOptions = {}): Promise<http.IncomingMessage> => {
    const request = http.request({ host: '127.0.0.1', port, path, agent, ...options }).end();
    const [response] = await once(request, 'response');
    return response;
  };
}

async function textOf(response: http.IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

describe('health', () => {
  const never: Handle = async () => json(500, 'the cache was asked');

  test.each([
    ['GET', '/healthz', 200, 'ok\n'],
    ['GET', '/readyz', 200, 'ready\n'],
    ['GET', '/readyz?verbose', 200, 'ready\n'],
    ['HEAD', '/healthz', 200, ''],
    ['POST', '/healthz', 405, 'only GET and HEAD\n'],
  ])('%s %s is answered %d without the cache, and not logged', async (method, path, status, text) => {
    const { port, lines } = await start(never);
    const response = await client(port)(path, { method });
    expect([response.statusCode, await textOf(response)]).toEqual([status, text]);
    expect(response.headers['cache-control']).toBe('no-store');
    expect(lines).toEqual([]);
  });
});

describe('requests', () => {
  test('go to the cache, with the address of their client', async () => {
    const seen: HttpRequest[] = [];
    const { port } = await start(
      async (request) => {
        seen.push(request);
        return json(200, '{}');
      },
      { trustedProxies: ['127.0.0.0/8'] },
    );
    const headers = { 'x-forwarded-for': '198.51.100.1' };
    const response = await client(port)('/v2/a/b/manifests/1?ns=c', { headers });
    expect([response.statusCode, await textOf(response)]).toEqual([200, '{}']);
    expect(seen.map(({ url, context }) => [url, context])).toEqual([
      ['/v2/a/b/manifests/1?ns=c', expect.objectContaining({ address: '198.51.100.1' })],
    ]);
  });

  test('for other paths are answered 404', async () => {
    const { port } = await start(async () => undefined);
    expect((await client(port)('/')).statusCode).toBe(404);
  });

  test('each are a line of the log, without their headers', async () => {
    const { port, lines } = await start(async () => json(404, '{"errors":[]}'));
    const headers = { authorization: 'Bearer 271828', cookie: '271828' };
    await textOf(await client(port)('/v2/a/manifests/1', { headers }));
    await expect.poll(() => lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      msg: 'request',
      client: '127.0.0.1',
      method: 'GET',
      path: '/v2/a/manifests/1',
      status: 404,
      cacheStatus: 'proxycache; hit',
    });
    expect(lines[0]).not.toHaveProperty('cutOff');
    expect(JSON.stringify(lines)).not.toContain('271828');
  });

  test('are answered from memory where the cache can, and say so in the log', async () => {
    const handle: Handle = async () => json(404, '{}');
    handle.fromMemory = ({ url }) => (url.endsWith('/1') ? json(200, '{}') : undefined);
    const { port, lines } = await start(handle);
    for (const tag of ['1', '2']) await textOf(await client(port)(`/v2/a/manifests/${tag}`));
    await expect
      .poll(() => lines.map(({ status, cacheStatus }) => [status, cacheStatus]))
      .toEqual([
        [200, 'proxycache; hit'],
        [404, 'proxycache; hit'],
      ]);
  });

  test.each([
    ['/v2/a/tags/list?n=2&last=b&cursor=271828', '/v2/a/tags/list'],
    ['http://user:271828@cache.test/v2/a/manifests/1?ns=271828', '/v2/a/manifests/1'],
    ['http://user:271828@cache.test?271828', '/'],
    ['/v2/a/manifests/1#271828', '/v2/a/manifests/1'],
  ])('are logged without query and authority, failed or not: %s', async (path, logged) => {
    const { port, lines } = await start(() => Promise.reject(new Error('a defect')));
    await textOf(await client(port)(path));
    await expect.poll(() => lines.map((line) => line['msg']).sort()).toEqual(['request', 'request failed']);
    expect(lines.map((line) => line['path'])).toEqual([logged, logged]);
    expect(JSON.stringify(lines)).not.toContain('271828');
  });

  test('whose client left before the end are said to be cut off', async () => {
    const rest = gate();
    const { port, lines } = await start(async ({ signal }) => halfABody(rest, signal));
    const response = await client(port)('/v2/a/blobs/1');
    response.destroy();
    await expect.poll(() => lines).toEqual([expect.objectContaining({ msg: 'request', cutOff: true })]);
  });

  test('are not logged when the configuration says so', async () => {
    const { port, lines } = await start(async () => json(200, '{}'), { log: { requests: false } });
    const ask = client(port);
    await textOf(await ask('/v2/'));
    await textOf(await ask('/v2/'));
    expect(lines).toEqual([]);
  });

  test('that the cache fails on are logged as errors', async () => {
    const { port, lines } = await start(() => Promise.reject(new Error('a defect')));
    expect((await client(port)('/v2/')).statusCode).toBe(500);
    expect(lines[0]).toMatchObject({ msg: 'request failed', err: { message: 'a defect' }, path: '/v2/' });
  });

  test('to push are refused by their headers, before a body is sent', async () => {
    const { port } = await start(async () => json(403, '{}'));
    const request = http.request({ host: '127.0.0.1', port, path: '/v2/a/blobs/uploads/', method: 'POST' });
    request.setHeader('expect', '100-continue').setHeader('content-length', '1000000').flushHeaders();
    const continued: unknown[] = [];
    request.on('continue', () => continued.push(true)).on('error', () => undefined);
    const [response] = await once(request, 'response');
    expect(response.statusCode).toBe(403);
    expect(continued).toEqual([]);
    request.destroy();
  });
});

test('connections over limits.maxConnections are closed', async () => {
  const { port } = await start(async () => json(200, '{}'), { limits: { maxConnections: 1 } });
  const response = await client(port)('/v2/');
  const second = connect(port, '127.0.0.1').resume();
  await once(second, 'close');
  expect(await textOf(response)).toBe('{}');
});

describe('stopping', () => {
  test('refuses connections, and lets what runs end', async () => {
    const rest = gate();
    const { server, port, closes } = await start(async ({ signal }) => halfABody(rest, signal), {
      limits: { shutdownWithin: '20s' },
    });
    const response = await client(port)('/v2/a/blobs/1');
    const stopped = server.stop();
    await expect(once(connect(port, '127.0.0.1'), 'connect')).rejects.toThrow('ECONNREFUSED');
    rest.open();
    expect(await textOf(response)).toBe('one two');
    await stopped;
    expect(closes).toEqual([{ graceMs: 20_000, ingests: 'finish' }]);
  });

  test('cuts nothing off at once where it may go on for longer than a timer of Node counts', async () => {
    const rest = gate();
    const { server, port } = await start(async ({ signal }) => halfABody(rest, signal), {
      limits: { shutdownWithin: '40d' },
    });
    const text = textOf(await client(port)('/v2/a/blobs/1'));
    const stopped = server.stop();
    await expect(once(connect(port, '127.0.0.1'), 'connect')).rejects.toThrow('ECONNREFUSED');
    rest.open();
    expect(await text).toBe('one two');
    await stopped;
  });

  test('cuts off what still runs when the time is up', async () => {
    const rest = gate();
    const { server, port } = await start(async ({ signal }) => halfABody(rest, signal), {
      limits: { shutdownWithin: '50ms' },
    });
    const response = await client(port)('/v2/a/blobs/1');
    const text = textOf(response);
    const cut = expect(text).rejects.toThrow('aborted');
    await server.stop();
    await cut;
  });

  test('does not wait for connections that are idle, now or once their request has ended', async () => {
    const rest = gate();
    const { server, port } = await start(async ({ signal }) => halfABody(rest, signal), {
      limits: { shutdownWithin: '20s' },
    });
    await textOf(await client(port)('/healthz'));
    const response = await client(port)('/v2/a/blobs/1');
    const stopped = server.stop();
    rest.open();
    await textOf(response);
    await stopped;
  });

  test('says so to /readyz, and keeps no connection', async () => {
    const { server, port } = await start(async () => undefined);
    const socket = connect(port, '127.0.0.1').setEncoding('utf8');
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk;
    });
    // With the answer to the first request, the beginning of the second has been read too: this connection is not idle.
    socket.write('GET /readyz HTTP/1.1\r\nhost: x\r\n\r\nGET /readyz HTTP/1.1\r\n');
    await expect.poll(() => received).toMatch(/^HTTP\/1\.1 200 .*ready\n$/s);
    received = '';
    const stopped = server.stop();
    socket.write('host: x\r\n\r\n');
    await once(socket, 'close');
    expect(received).toMatch(/^HTTP\/1\.1 503 .*^connection: close\r\n.*stopping\n$/ims);
    await stopped;
  });
});

describe('an address that cannot be had', () => {
  test('a port in use is said to be', async () => {
    const { port } = await start(async () => undefined);
    await expect(start(async () => undefined, { listen: { port } })).rejects.toThrow(
      `listen.port: 127.0.0.1 port ${port} is in use; stop what listens there or choose another port, 0 for any`,
    );
  });

  test.each(['192.0.2.1', 'no-such-host.invalid'])('%s is said to be none of this machine', async (host) => {
    await expect(start(async () => undefined, { listen: { host, port: 0 } })).rejects.toThrow(
      `listen.host: expected an address of this machine, received "${host}"`,
    );
  });
});
