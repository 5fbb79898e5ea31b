import { once } from 'node:events';
import type { ServerOptions } from 'node:http';
import { connect } from 'node:net';
import type { HttpResponse } from '@proxycache/core';
import { pino } from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import { parseConfig } from './load-config.ts';
import { type RunningServer, startServer } from './server.ts';

const running: RunningServer[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.stop()));
});

const answer: HttpResponse = { status: 200, headers: { 'content-length': '2' }, body: Buffer.from('ok') };

async function start(input: Record<string, unknown> = {}, limits: ServerOptions = {}) {
  const lines: string[] = [];
  const server = await startServer({
    cache: { handle: async () => answer, close: async () => undefined },
    config: parseConfig({ listen: { port: 0 }, ...input }, {}),
    folder: '.',
    logger: pino({ base: null }, { write: (line: string) => lines.push(line) }),
    limits,
  });
  running.push(server);
  return { port: Number(new URL(server.url).port), lines };
}

/** All that a server sends to a client that sends this, until it closes. */
async function say(port: number, text: string): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).setEncoding('latin1');
  socket.on('error', () => undefined);
  let got = '';
  socket.on('data', (chunk) => {
    got += chunk;
  });
  socket.write(text, 'latin1');
  await once(socket, 'end');
  socket.destroy();
  return got;
}

const head = 'GET /v2/ HTTP/1.1\r\nHost: x\r\n';

describe('what is no request', () => {
  test.each([
    ['garbage', '\x16\x03\x01\x02\x00\x01\x00\x01', 400],
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n', 400],
    ['a line that is none', 'GET\r\n\r\n', 400],
    ['a line break in a header', `${head}X: a\rb\r\n\r\n`, 400],
    ['a NUL in a header', `${head}X: a\0b\r\n\r\n`, 400],
    ['a NUL in the path', 'GET /v2/\0 HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['two lengths', `${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`, 400],
    ['a length with a sign', `${head}Content-Length: +1\r\n\r\n`, 400],
    ['a length beyond numbers', `${head}Content-Length: 99999999999999999999999\r\n\r\n`, 400],
    ['a length and chunks', `${head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    ['chunks that are none', `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
    ['a header without an end', `${head}X: ${'a'.repeat(20_000)}`, 431],
    ['a path without an end', `GET /v2/${'a'.repeat(20_000)}`, 431],
    ['headers without an end', head + 'X: a\r\n'.repeat(10_000), 431],
  ])('%s is answered with an OCI error, and the connection closed', async (_what, text, status) => {
    const { port, lines } = await start();
    const got = await say(port, text);
    const [headers = '', body = ''] = got.split('\r\n\r\n');
    expect(headers).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(headers).toContain('Connection: close');
    expect(JSON.parse(body)).toMatchObject({ errors: [{ message: expect.stringMatching(/request/) }] });
    expect(body).not.toMatch(/aaa|SSH/);
    expect(lines.join('')).not.toMatch(/aaa|SSH|\\u0000/);
    expect(await say(port, `${head}Connection: close\r\n\r\n`)).toMatch(/^HTTP\/1.1 200 .*ok$/s);
  });

  test.each([
    ['nothing at all', ''],
    ['headers that never end', head],
  ])('%s is told 408, and the connection closed', async (_what, text) => {
    const { port } = await start({}, { headersTimeout: 50, requestTimeout: 50, connectionsCheckingInterval: 10 });
    const got = await say(port, text);
    expect(got).toMatch(/^HTTP\/1.1 408 /);
    expect(got).toContain('did not come in time');
  });
});

test('limits.stalledFor that is no time at all is told when the server starts', async () => {
  await expect(start({ limits: { stalledFor: 0 } })).rejects.toThrow('stalledFor: expected a duration');
});
