import { defaultMaxListeners } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { listenOnLoopback } from '@proxycache/contract';
import { gate } from '@proxycache/test-kit';
import { expect, onTestFinished, test } from 'vitest';
import { createNodeHandler } from './node-handler.ts';

/** A body parser of the host's: it reads a request to its end. */
async function parse(req: IncomingMessage): Promise<void> {
  for await (const _ of req);
}

/** A cache below a body parser, and how many wait for the end of the connection when a request comes in. */
async function serveBelowParser() {
  const first = gate();
  const signals: AbortSignal[] = [];
  async function* body() {
    yield Buffer.from('part one, ');
    yield Buffer.from('part two\n');
  }
  const handler = createNodeHandler({
    async handle({ url, signal }) {
      signals.push(signal);
      if (url === '/v2/first') await first.pass();
      return { status: 200, headers: {}, body: body() };
    },
  });
  const connections: Socket[] = [];
  const listeners: number[] = [];
  const server = createServer((req, res) => {
    listeners.push(req.socket.listenerCount('close'));
    void parse(req).then(() => handler(req, res));
  });
  server.on('connection', (socket) => connections.push(socket));
  server.keepAliveTimeout = 0;
  const host = await listenOnLoopback(server, '');
  onTestFinished(host.close);
  const client = connect(Number(new URL(host.url).port), '127.0.0.1');
  onTestFinished(() => void client.destroy());
  let text = '';
  client.setEncoding('latin1').on('data', (chunk) => {
    text += chunk;
  });
  const ask = (...paths: string[]) =>
    client.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello`).join(''));
  const answered = () => text.split('part two\n\r\n0\r\n\r\n').length - 1;
  return { ask, answered, first, signals, client, connections, listeners };
}

test('each pipelined request whose body the host had read was held until its connection ended', async () => {
  const { ask, answered, first, signals, listeners } = await serveBelowParser();
  ask('/v2/');
  await expect.poll(answered).toBe(1);
  ask('/v2/first', '/v2/', '/v2/', '/v2/');
  await expect.poll(() => signals.length).toBe(5);
  first.open();
  await expect.poll(answered).toBe(5);
  ask('/v2/');
  await expect.poll(answered).toBe(6);
  expect(listeners.at(-1)).toBe(listeners[0]);
});

test('as many pipelined requests as a client likes wait for the end of their connection without a warning of Node', async () => {
  const { ask, answered, first, signals, connections } = await serveBelowParser();
  ask('/v2/first', ...Array(20).fill('/v2/'));
  await expect.poll(() => signals.length).toBe(21);
  const [socket] = connections;
  expect(socket?.listenerCount('close')).toBeGreaterThan(20);
  expect(socket?.getMaxListeners()).toBeGreaterThan(socket?.listenerCount('close') ?? 0);
  first.open();
  await expect.poll(answered).toBe(21);
  await expect.poll(() => socket?.getMaxListeners()).toBe(defaultMaxListeners);
});

test('a pipelined request whose body the host had read is told that its client left', async () => {
  const { ask, first, signals, client } = await serveBelowParser();
  ask('/v2/first', '/v2/');
  await expect.poll(() => signals.length).toBe(2);
  client.destroy();
  await expect.poll(() => signals.map(({ aborted }) => aborted)).toEqual([true, true]);
  first.open();
});
