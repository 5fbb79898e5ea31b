import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { HttpResponse } from '@proxycache/core';
import { selfSigned } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createNodeHandler } from './node-handler.ts';

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const bodyOf = (size: number) => Buffer.alloc(size, everyByte);
const sizeOf = (url: string) => Number(url.slice('/v2/'.length));

const handler = createNodeHandler({
  handle: async ({ url }) => ({ status: 200, headers: {}, body: bodyOf(sizeOf(url)) }),
});

async function listen(server: Server): Promise<number> {
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** What comes for requests that are all sent at once, the last of which ends the connection. */
async function received(socket: Socket, sizes: readonly number[]): Promise<Buffer> {
  const request = (size: number, last: boolean) =>
    `GET /v2/${size} HTTP/1.1\r\nHost: a\r\n${last ? 'Connection: close\r\n' : ''}\r\n`;
  socket.write(sizes.map((size, index) => request(size, index === sizes.length - 1)).join(''));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The bodies of answers, each of the length that its head announces. */
function bodiesIn(bytes: Buffer): Buffer[] {
  const bodies: Buffer[] = [];
  for (let rest = bytes; rest.byteLength > 0; ) {
    const end = rest.indexOf('\r\n\r\n') + 4;
    const length = Number(/content-length: (\d+)/i.exec(rest.toString('latin1', 0, end))?.[1]);
    bodies.push(rest.subarray(end, end + length));
    rest = rest.subarray(end + length);
  }
  return bodies;
}

// Around the size from which a body is no string any more.
const sizes = [0, 1, 256, 2047, 2048, 2049, 100_000];

describe('a body in one piece arrives byte for byte', () => {
  test('in answers to requests that came one after another, before the first was answered', async () => {
    const port = await listen(createServer(handler));
    const bodies = bodiesIn(await received(connect(port, '127.0.0.1'), sizes));
    expect(bodies).toEqual(sizes.map(bodyOf));
  });

  test('over TLS', async () => {
    const { ca, server: identity } = await selfSigned();
    const port = await listen(createTlsServer(identity, handler) as unknown as Server);
    const socket = connectTls({ port, host: '127.0.0.1', ca });
    const bodies = bodiesIn(await received(socket, sizes));
    expect(bodies).toEqual(sizes.map(bodyOf));
  });

  test('where its bytes are a part of more memory, and no Buffer', async () => {
    const part = new Uint8Array(bodyOf(1000)).subarray(100, 300);
    const handle = async (): Promise<HttpResponse> => ({ status: 200, headers: {}, body: part });
    const port = await listen(createServer(createNodeHandler({ handle })));
    expect(bodiesIn(await received(connect(port, '127.0.0.1'), [1]))).toEqual([Buffer.from(part)]);
  });
});

test('a small answer is handed over in one piece, and no more for its end', async () => {
  const server = createServer(handler);
  const written: unknown[] = [];
  server.on('connection', (socket: Socket) => {
    vi.spyOn(socket, 'write').mockImplementation(function (this: Socket, ...args: unknown[]) {
      written.push(args[0]);
      return (Object.getPrototypeOf(this) as Socket).write.apply(this, args as Parameters<Socket['write']>);
    } as Socket['write']);
  });
  const port = await listen(server);
  const bytes = await received(connect(port, '127.0.0.1'), [256]);
  expect(written).toEqual([bytes.toString('latin1')]);
});
